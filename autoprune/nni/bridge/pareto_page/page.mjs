// The Pareto page: asks the manager every two seconds, and shows what is new. What a front is, what a rule chooses and how
// a number is written is for autoprune/nni/page_data.py to say.

import { refreshLearned, showLearned } from './learned.mjs';
import { showNetwork } from './network.mjs';
import { drawFront, drawKept, drawVolume } from './plots.mjs';
import { readPage } from './state.mjs';

const POLL_MS = 2000;
const find = id => document.getElementById(id);

let state = null; // see readPage
let exports = {};
let chosen = null; // a trial's id
let sorting = { column: 'number', descending: true };
let shown = ''; // what the plots and the table show, to redraw only what changed

// Asking ------------------------------------------------------------------------------------------------------------

async function ask(path) {
    const response = await fetch(`../api/v1/${path}`);
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) {
        throw new Error(answer.error ?? `the manager answers ${response.status}`);
    }
    return answer;
}

async function poll() {
    try {
        const status = await ask('nni/check-status').catch(error => {
            throw new Error(`${error.message}. Has the experiment been stopped?`);
        });
        const [page, exported] = await Promise.all(['autoprune/page', 'autoprune/exports'].map(ask));
        find('trouble').hidden = true;
        update(status, page);
        exports = exported;
        showExport();
    } catch (error) {
        find('trouble').textContent = `No news: ${error.message}`;
        find('trouble').hidden = false;
    }
    setTimeout(poll, POLL_MS);
}

function update(status, page) {
    const isFirst = state === null;
    state = readPage(page);
    if (isFirst) {
        showMeasures();
    }
    showProgress(status);
    const now = JSON.stringify(page);
    if (now !== shown) {
        shown = now;
        draw();
        showNetwork(find('network'), ask, chosen);
    }
    refreshLearned(find('learned'), ask);
}

// Showing -----------------------------------------------------------------------------------------------------------

function showMeasures() {
    const { noun, side } = state.declared.get(state.metric);
    for (const [id, first] of [['x', 'macs'], ['y', state.metric]]) {
        find(id).append(...state.measures.map(
            each => element('option', each.noun, { value: each.name, selected: each.name === first })));
    }
    document.querySelectorAll('.metric').forEach(place => { place.textContent = noun; });
    find('by-metric').textContent = `${state.metric}${side}=NUMBER`;
}

function showProgress(status) {
    const { ended, counts, front, id, name } = state;
    const total = state.total ?? '?';
    const word = status.status.toLowerCase().replaceAll('_', ' ');
    find('name').textContent = `${name} (${id})`;
    document.title = `${ended}/${total} ${name}: Pareto front`;
    const words = [word, counts, `${front.length} on the front`];
    find('progress').textContent = [...words, ...status.errors].join(', ');
    find('bar').max = state.total || Math.max(ended, 1);
    find('bar').value = ended;
}

function draw() {
    if (state === null) {
        return;
    }
    const view = { x: find('x').value, y: find('y').value, xlog: find('xlog').checked, ylog: find('ylog').checked,
        others: find('others').checked, chosen };
    drawFront(find('front'), state, view, select);
    find('constraints').textContent = state.constraints.length === 0 ? '' :
        `It keeps within the search's constraints: ${state.constraints.join(', ')}.`;
    drawVolume(find('volume'), state);
    drawKept(find('kept'), state, select);
    showTable();
    showDetails();
    const failed = state.trials.filter(trial => trial.status === 'FAILED').slice(-8);
    find('failures-title').hidden = failed.length === 0;
    find('failures').replaceChildren(...failed.map(trial => element('li', `${trial.name}: ${trial.reason ?? 'no result'}`)));
}

function select(id) {
    chosen = id;
    draw();
    showNetwork(find('network'), ask, chosen);
}

function element(tag, text = '', attributes = {}) {
    const made = document.createElement(tag);
    made.textContent = text;
    Object.assign(made, attributes);
    return made;
}

// The table ---------------------------------------------------------------------------------------------------------

function columns() {
    const margins = [...new Set(state.candidates.flatMap(trial => Object.keys(trial.margins)))];
    return [
        { key: 'number', title: 'trial', value: trial => trial.number, text: trial => trial.name },
        { key: 'id', title: 'id', value: trial => trial.id, words: true },
        { key: 'status', title: 'status', value: trial => trial.status.toLowerCase(), words: true },
        ...state.measures.map(({ name, noun }, i) => ({ key: name, title: noun, value: trial => trial.measures?.[name],
            text: trial => trial.texts?.[i] ?? '-' })),
        ...margins.map(name => ({ key: name, title: name.replaceAll('_', ' '), value: trial => trial.margins?.[name]?.[0],
            text: trial => trial.margins?.[name]?.[1] })),
    ];
}

function showTable() {
    if (state === null) {
        return;
    }
    const all = columns();
    find('trials').tHead.replaceChildren(element('tr'));
    for (const column of all) {
        const arrow = sorting.column === column.key ? (sorting.descending ? ' ▼' : ' ▲') : '';
        const heading = element('th', '', { className: column.words ? 'text' : '', scope: 'col' });
        heading.append(element('button', column.title + arrow, { type: 'button', onclick: () => sortBy(column.key) }));
        find('trials').tHead.rows[0].append(heading);
    }
    const words = find('filter').value.toLowerCase().split(/\s+/).filter(Boolean);
    const front = new Set(state.front.map(trial => trial.id));
    const wanted = state.trials.filter(trial => {
        const text = [trial.id, trial.name, trial.status, trial.reason, trial.parameters].join(' ').toLowerCase();
        return words.every(word => text.includes(word)) && (!find('front-only').checked || front.has(trial.id));
    });
    const { value } = all.find(column => column.key === sorting.column) ?? all[0];
    const missing = trial => value(trial) === undefined;
    const sign = sorting.descending ? -1 : 1;
    wanted.sort((a, b) => missing(a) - missing(b) || sign * (value(a) > value(b) ? 1 : value(a) < value(b) ? -1 : 0));
    find('trials').tBodies[0].replaceChildren(...wanted.map(trial => row(trial, all, front.has(trial.id))));
}

function row(trial, all, onFront) {
    const names = [trial.id === chosen && 'chosen', onFront && 'front', trial.status === 'FAILED' && 'failed'];
    const made = element('tr', '', { className: names.filter(Boolean).join(' '), onclick: () => select(trial.id) });
    made.dataset.trial = trial.id;
    made.append(...all.map(column => element(
        'td', (column.text ?? column.value)(trial) ?? '', { className: column.words ? 'text' : '' })));
    return made;
}

function sortBy(key) {
    sorting = { column: key, descending: sorting.column === key ? !sorting.descending : key !== 'id' };
    showTable();
}

// One trial ---------------------------------------------------------------------------------------------------------

function showDetails() {
    const trial = state.byId.get(chosen);
    if (!trial) {
        return;
    }
    const list = element('dl');
    const add = (title, text) => list.append(element('dt', title), element('dd', text));
    const { noun, comparison } = state.declared.get(state.metric);
    const unit = comparison === 'points' ? ' points' : '';
    add('id', trial.id);
    if (trial.measures) {
        state.measures.forEach((each, i) => {
            add(each.noun, trial.texts[i] + (trial.compared[i] && ` (${trial.compared[i]})`));
        });
        Object.entries(trial.recovered).forEach(([split, text]) => add(`${split} ${noun}, fine-tuned to the end`, text));
        Object.entries(trial.margins).forEach(([name, [, text]]) => add(name.replaceAll('_', ' '), text + unit));
        state.groups.forEach((group, i) => trial.kept[i] && add(`kept of ${group}`, trial.kept[i]));
    } else {
        add('status', [trial.status.toLowerCase(), trial.reason].filter(Boolean).join(': '));
    }
    add('parameters', trial.parameters);
    const button = element('button', 'Export this model', { id: 'export', className: 'main', type: 'button',
        disabled: !trial.measures, onclick: () => startExport(trial.id) });
    find('details').replaceChildren(element('h3', trial.name), list, button, element('div', '', { id: 'exported' }));
    showExport();
}

async function startExport(trial) {
    find('export').disabled = true;
    const response = await fetch('../api/v1/autoprune/exports', {
        method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ trial }),
    });
    const answer = await response.json();
    exports[trial] = response.ok ? answer : { state: 'failed', message: answer.error, files: [] };
    showExport();
}

function showExport() {
    const place = find('exported');
    if (!place) {
        return;
    }
    const known = exports[chosen];
    find('export').disabled = known?.state === 'running' || !state.byId.get(chosen)?.measures;
    const words = { running: 'Exporting, and comparing each file with the model ...', done: 'Exported:',
        failed: `Not exported: ${known?.message}` }[known?.state];
    place.replaceChildren(element('p', words ?? '', { className: known?.state === 'failed' ? 'error' : 'note' }));
    place.dataset.state = known?.state ?? '';
    const list = element('ul');
    for (const file of known?.state === 'done' ? known.files : []) {
        const item = element('li');
        const href = `../api/v1/autoprune/exports/${encodeURIComponent(chosen)}/${encodeURIComponent(file)}`;
        item.append(element('a', file, { href, download: file }));
        list.append(item);
    }
    place.append(list);
}

// Controls ----------------------------------------------------------------------------------------------------------

async function chooseByRule(event) {
    event.preventDefault();
    const path = `autoprune/choice?rule=${encodeURIComponent(find('rule').value)}`;
    const { trial, refused } = await ask(path).catch(error => ({ refused: error.message }));
    find('refused').textContent = refused ?? '';
    find('refused').hidden = refused === undefined;
    if (trial !== undefined) {
        select(trial);
    }
}

find('axes').addEventListener('change', draw);
find('axes').addEventListener('submit', event => event.preventDefault());
find('choose').addEventListener('submit', chooseByRule);
find('filter').form.addEventListener('submit', event => event.preventDefault());
find('filter').addEventListener('input', showTable);
find('front-only').addEventListener('change', showTable);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    draw();
    showLearned(find('learned'));
});
poll();
