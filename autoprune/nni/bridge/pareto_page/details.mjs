// One trial, or two side by side: measures, parameters, what they keep; a trial's log while it grows, and its export.

import { ask, command, element, find } from './dom.mjs';

const FEW = 12; // rows that need no folding

const known = new Map(); // by trial's id: what page_data.details says, once it was asked
let exports = {};
let shown = { ids: [], key: '' };
let last = null; // the state that is shown
let actions = {}; // see showDetails

// chosen: ids of the trial that is shown and, or null, of the one beside it. act: { compare(id), select(id) }.
export function showDetails(state, chosen, beside, act) {
    last = state;
    actions = act;
    const trials = [beside, chosen].map(id => state.byId.get(id)).filter(Boolean);
    trials.forEach(learn);
    const key = JSON.stringify([beside, trials, trials.map(trial => known.get(trial.id)), state.groups.length]);
    if (trials.length === 0 || (key === shown.key && find('trial-name'))) {
        return;
    }
    shown = { ids: trials.map(trial => trial.id), key };
    const isOpen = [...document.querySelectorAll('#details details[open]')].map(each => each.id);
    const focused = find('details').contains(document.activeElement) ? document.activeElement.id : '';
    find('details').replaceChildren(...(trials.length > 1 ? two(state, trials) : one(state, trials[0], beside)));
    isOpen.forEach(id => find(id)?.setAttribute('open', ''));
    find(focused)?.focus();
    showExport();
}

async function learn(trial) {
    const isNew = known.get(trial.id)?.status !== trial.status;
    if (isNew) {
        known.set(trial.id, { ...known.get(trial.id), status: trial.status });
        const more = await ask(`autoprune/trial?trial=${encodeURIComponent(trial.id)}`).catch(error => ({ error: error.message }));
        known.set(trial.id, { ...more, status: more.error ? null : trial.status });
        if (shown.ids.includes(trial.id) && find('trial-name')) {
            actions.again();
        }
    }
}

// What there is to say of a trial: [title, text] of each.
function facts(state, trial) {
    const { noun, comparison } = state.declared.get(state.metric);
    const unit = comparison === 'points' ? ' points' : '';
    const said = [['id', trial.id], ['status', trial.status.toLowerCase().replaceAll('_', ' ')]];
    if (trial.reason) {
        said.push(['reason', trial.reason]);
    }
    if (trial.measures) {
        state.measures.forEach((each, i) => {
            said.push([each.noun, trial.texts[i] + (trial.compared[i] && ` (${trial.compared[i]})`)]);
        });
        Object.entries(trial.recovered).forEach(([split, text]) => said.push([`${split} ${noun}, fine-tuned to the end`, text]));
        Object.entries(trial.margins).forEach(([name, [, text]]) => said.push([name.replaceAll('_', ' '), text + unit]));
    }
    return said;
}

// Its parameters and what it keeps, sparsities last.
function makeUp(trial) {
    const { parameters = {}, kept = {}, error } = known.get(trial.id) ?? {};
    const isSparsity = ([name]) => name.startsWith('sparsity.');
    const given = Object.entries(parameters);
    const keeps = Object.entries(kept).filter(([, text]) => text).map(([group, text]) => [`kept of ${group}`, text]);
    const wrong = error ? [['not known', error]] : [];
    return [...wrong, ...given.filter(each => !isSparsity(each)), ...keeps,
        ...given.filter(isSparsity).map(([name, text]) => [name.replace('.', ' of '), text])];
}

function one(state, trial, beside) {
    const title = element('h3', trial.name, { id: 'trial-name', tabIndex: -1 });
    const buttons = element('p', '', { className: 'controls' });
    buttons.append(
        element('button', 'Export this model', { id: 'export', className: 'main', type: 'button', disabled: !trial.measures,
            onclick: () => startExport(trial.id) }),
        element('button', beside === trial.id ? 'Now select another trial' : 'Compare with another',
            { id: 'compare', type: 'button', onclick: () => actions.compare(beside === trial.id ? null : trial.id) }),
    );
    const log = element('details', '', { id: 'log', ontoggle: showLog });
    log.append(element('summary', 'Log'), element('pre', 'Loading ...', { id: 'log-text', tabIndex: 0, role: 'region', ariaLabel: 'the log' }));
    const [said, more] = [facts(state, trial), makeUp(trial)];
    const words = more.length > FEW ? [list(said), folded(more)] : [list([...said, ...more])];
    return [title, ...words, buttons, element('div', '', { id: 'exported', role: 'status' }), log];
}

function list(said) {
    const made = element('dl');
    said.forEach(([title, text]) => made.append(element('dt', title), element('dd', text)));
    return made;
}

function folded(said) {
    const made = element('details', '', { id: 'make-up' });
    made.append(element('summary', `Parameters, and what it keeps of each group (${said.length})`), list(said));
    return made;
}

function two(state, trials) {
    const sides = trials.map(trial => new Map([...facts(state, trial), ...makeUp(trial)]));
    const table = element('table', '', { id: 'comparison' });
    const head = table.createTHead().insertRow();
    head.append(element('td'), ...trials.map(trial => element('th', trial.name, { scope: 'col' })));
    const body = table.createTBody();
    for (const title of new Set(sides.flatMap(side => [...side.keys()]))) {
        const texts = sides.map(side => side.get(title) ?? '-');
        const row = body.insertRow();
        row.className = texts[0] === texts[1] ? 'same' : 'differs';
        row.append(element('th', title, { scope: 'row' }), ...texts.map(text => element('td', text)));
    }
    const buttons = element('p', '', { className: 'controls' });
    buttons.append(element('button', 'End the comparison', { id: 'compare', type: 'button', onclick: () => actions.compare(null) }));
    const scroll = element('div', '', { className: 'scroll', tabIndex: 0, role: 'region', ariaLabel: 'two trials compared' });
    scroll.append(table);
    return [element('h3', 'Two trials, side by side', { id: 'trial-name', tabIndex: -1 }), buttons, scroll];
}

// The log ------------------------------------------------------------------------------------------------------------

export async function showLog() {
    const [place, id] = [find('log-text'), shown.ids.at(-1)];
    if (!place || !find('log').open) {
        return;
    }
    const { stdout, stderr, error } = await ask(`autoprune/log/${encodeURIComponent(id)}`).catch(reason => ({ error: reason.message }));
    const parts = [['', stdout], ['Errors and warnings:\n', stderr]].filter(([, text]) => text);
    const text = error ?? (parts.map(part => part.join('')).join('\n') || 'It has printed nothing.');
    if (id === shown.ids.at(-1) && place.textContent !== text) {
        const atEnd = place.scrollTop + place.clientHeight >= place.scrollHeight - 30 || place.textContent === 'Loading ...';
        place.textContent = text;
        place.scrollTop = atEnd ? place.scrollHeight : place.scrollTop;
    }
}

// The export ---------------------------------------------------------------------------------------------------------

async function startExport(trial) {
    find('export').disabled = true;
    exports[trial] = await command('POST', 'autoprune/exports', { trial }).catch(
        error => ({ state: 'failed', message: error.message, files: [] }));
    showExport();
}

// all: by trial, the exports that the manager knows.
export function showExports(all) {
    exports = all;
    showExport();
}

function showExport() {
    const [place, trial] = [find('exported'), shown.ids.at(-1)];
    if (!place) {
        return;
    }
    const found = exports[trial];
    find('export').disabled = found?.state === 'running' || !last.byId.get(trial)?.measures;
    const now = JSON.stringify([trial, found]);
    if (place.dataset.shown === now) {
        return;
    }
    const words = { running: 'Exporting, and comparing each file with the model ...', done: 'Exported:',
        failed: `Not exported: ${found?.message}` }[found?.state];
    place.replaceChildren(element('p', words ?? '', { className: found?.state === 'failed' ? 'error' : 'note' }));
    Object.assign(place.dataset, { state: found?.state ?? '', shown: now });
    const files = element('ul');
    for (const file of found?.state === 'done' ? found.files : []) {
        const item = element('li');
        const href = `../api/v1/autoprune/exports/${encodeURIComponent(trial)}/${encodeURIComponent(file)}`;
        item.append(element('a', file, { href, download: file }));
        files.append(item);
    }
    place.append(files);
}
