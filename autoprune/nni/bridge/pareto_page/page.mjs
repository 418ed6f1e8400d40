// The Pareto page: asks the manager every two seconds, and shows what is new.

import { choose, paretoFront, recoveredFront, within } from './front.mjs';
import { MEASURES, METRIC, OBJECTIVES, declarationOf, declare, isShare, write, writeDifference } from './measures.mjs';
import { nameOf } from './names.mjs';
import { drawFront, drawKept, drawSensitivity, drawVolume } from './plots.mjs';

const POLL_MS = 2000;
const DENSE = 'dense'; // marks the dense model's trial, as in autoprune/results/baselines.py
const RUNNING = ['WAITING', 'RUNNING', 'UNKNOWN'];
const find = id => document.getElementById(id);

let state = { trials: [], candidates: [], allowed: [], constraints: [], baselines: {}, front: [], objectives: [], kept: {},
    channels: {}, reasons: {}, dense: null, sensitivity: null, recovered: {} };
let exports = {};
let chosen = null; // a trial's id
let sorting = { column: 'number', descending: true };
let shown = ''; // what the plots and the table show, to redraw only what changed

// Asking ------------------------------------------------------------------------------------------------------------

async function ask(path) {
    const response = await fetch(`../api/v1/${path}`);
    if (!response.ok) {
        throw new Error(`the manager answers ${response.status}`);
    }
    return response.json();
}

async function poll() {
    try {
        const paths = ['nni/check-status', 'nni/experiment', 'nni/trial-jobs', 'autoprune/facts', 'autoprune/exports'];
        const [status, experiment, jobs, facts, exported] = await Promise.all(paths.map(ask));
        find('trouble').hidden = true;
        update(status, experiment, jobs, facts);
        exports = exported;
        showExport();
    } catch (error) {
        find('trouble').textContent = `No news: ${error.message}. Has the experiment been stopped?`;
        find('trouble').hidden = false;
    }
    setTimeout(poll, POLL_MS);
}

function update(status, experiment, jobs, facts) {
    const trials = jobs.map(job => readTrial(job, facts)).filter(trial => trial.number !== undefined);
    const candidates = trials.filter(trial => trial.measures && !trial.baseline);
    const { objectives = OBJECTIVES, constraints } = experiment.params.tuner?.classArgs ?? {};
    const allowed = within(candidates, constraints ?? [], facts.dense);
    const baselines = {};
    for (const trial of trials.filter(each => each.measures && each.baseline && each.baseline !== DENSE)) {
        (baselines[trial.baseline] ??= []).push(trial);
    }
    const front = paretoFront(allowed, objectives);
    state = { ...facts, trials, candidates, allowed, baselines, objectives, constraints: constraints ?? [], front };
    showProgress(status, experiment);
    const now = JSON.stringify([trials, facts]);
    if (now !== shown) {
        shown = now;
        draw();
    }
}

function readTrial(job, facts) {
    const parameters = parameterSet(job);
    const metrics = finalMetrics(job);
    const measures = MEASURES.every(name => typeof metrics[name] === 'number') ? metrics : null;
    const trial = {
        id: job.trialJobId, number: job.sequenceId, parameters, metrics, measures, baseline: parameters.baseline,
        started: job.startTime, ended: job.endTime,
        // One that ended well but without a result has failed.
        status: job.status === 'SUCCEEDED' && !measures ? 'FAILED' : job.status,
        reason: facts.reasons[job.trialJobId],
    };
    return { ...trial, name: `${trial.number}: ${nameOf(parameters, measures, facts.dense)}` };
}

function parameterSet(job) {
    try {
        return JSON.parse(job.hyperParameters.at(-1)).parameters ?? {};
    } catch {
        return {}; // it has none yet
    }
}

function finalMetrics(job) {
    try {
        const metrics = JSON.parse(JSON.parse(job.finalMetricData.at(-1).data));
        return metrics !== null && typeof metrics === 'object' ? metrics : {};
    } catch {
        return {};
    }
}

// Showing -----------------------------------------------------------------------------------------------------------

function showProgress(status, experiment) {
    const total = experiment.params.maxTrialNumber;
    const ended = state.trials.filter(trial => !RUNNING.includes(trial.status)).length;
    const failed = state.trials.filter(trial => trial.status === 'FAILED').length;
    const word = status.status.toLowerCase().replaceAll('_', ' ');
    const name = experiment.params.experimentName || 'AutoPrune';
    find('name').textContent = `${name} (${experiment.id})`;
    document.title = `${ended}/${total ?? '?'} ${name}: Pareto front`;
    const words = [word, `${ended} of ${total ?? '?'} trials`, `${failed} failed`, `${state.front.length} on the front`];
    find('progress').textContent = [...words, ...status.errors].join(', ');
    find('bar').max = total || Math.max(ended, 1);
    find('bar').value = ended;
}

function draw() {
    const view = { x: find('x').value, y: find('y').value, xlog: find('xlog').checked, ylog: find('ylog').checked,
        others: find('others').checked, chosen };
    drawFront(find('front'), state, view, select);
    find('constraints').textContent = state.constraints.length === 0 ? '' :
        `It keeps within the search's constraints: ${state.constraints.join(', ')}.`;
    drawVolume(find('volume'), state);
    drawKept(find('kept'), state, select);
    find('sensitivity-section').hidden = !state.sensitivity;
    if (state.sensitivity) {
        drawSensitivity(find('sensitivity'), state);
    }
    showTable();
    showDetails();
    const failed = state.trials.filter(trial => trial.status === 'FAILED').slice(-8);
    find('failures-title').hidden = failed.length === 0;
    find('failures').replaceChildren(...failed.map(trial => element('li', `${trial.name}: ${trial.reason ?? 'no result'}`)));
}

function select(id) {
    chosen = id;
    draw();
}

function element(tag, text = '', attributes = {}) {
    const made = document.createElement(tag);
    made.textContent = text;
    Object.assign(made, attributes);
    return made;
}

// The table ---------------------------------------------------------------------------------------------------------

function columns() {
    const margins = [...new Set(state.candidates.flatMap(trial => Object.keys(trial.metrics)))]
        .filter(name => name.startsWith('above_'));
    return [
        { key: 'number', title: 'trial', value: trial => trial.number, text: trial => trial.name },
        { key: 'id', title: 'id', value: trial => trial.id, words: true },
        { key: 'status', title: 'status', value: trial => trial.status.toLowerCase(), words: true },
        ...MEASURES.map(name => ({ key: name, title: declarationOf(name).noun, value: trial => trial.measures?.[name],
            text: trial => write(name, trial.measures?.[name]) })),
        ...margins.map(name => ({ key: name, title: name.replaceAll('_', ' '), value: trial => trial.metrics[name],
            text: trial => (trial.metrics[name] === undefined ? '' : writeDifference(METRIC, trial.metrics[name])) })),
    ];
}

function showTable() {
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
        const text = [trial.id, trial.name, trial.status, trial.reason, JSON.stringify(trial.parameters)].join(' ').toLowerCase();
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
    const trial = state.trials.find(each => each.id === chosen);
    if (!trial) {
        return;
    }
    const list = element('dl');
    const add = (title, text) => list.append(element('dt', title), element('dd', text));
    add('id', trial.id);
    if (trial.measures) {
        for (const name of MEASURES) {
            add(declarationOf(name).noun, write(name, trial.measures[name]) + againstDense(name, trial.measures[name]));
        }
        for (const split of ['validation', 'test']) {
            const values = state.recovered[trial.id]?.[split];
            if (values) {
                add(`${split} ${declarationOf(METRIC).noun}, fine-tuned to the end`, values.map(value => write(METRIC, value)).join(', '));
            }
        }
        for (const [name, value] of Object.entries(trial.metrics).filter(([key]) => key.startsWith('above_'))) {
            add(name.replaceAll('_', ' '), writeDifference(METRIC, value) + (isShare(METRIC) ? ' points' : ''));
        }
    } else {
        add('status', [trial.status.toLowerCase(), trial.reason].filter(Boolean).join(': '));
    }
    for (const [group, kept] of Object.entries(state.kept[trial.id] ?? {})) {
        add(`kept of ${group}`, `${kept} of ${state.channels[group] ?? '?'}`);
    }
    add('parameters', Object.entries(trial.parameters).map(([key, value]) => `${key} ${value}`).join(', '));
    const button = element('button', 'Export this model', { id: 'export', className: 'main', type: 'button',
        disabled: !trial.measures, onclick: () => startExport(trial.id) });
    find('details').replaceChildren(element('h3', trial.name), list, button, element('div', '', { id: 'exported' }));
    showExport();
}

function againstDense(name, value) {
    if (!state.dense) {
        return '';
    }
    const dense = state.dense[name];
    return isShare(name)
        ? ` (${writeDifference(name, value - dense)} points)`
        : ` (${(100 * value / dense).toFixed(0)} % of the dense model's)`;
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
    find('export').disabled = known?.state === 'running' || !state.trials.find(each => each.id === chosen)?.measures;
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

function chooseByRule(event) {
    event.preventDefault();
    const rule = find('rule').value;
    try {
        if (state.candidates.length > 0 && state.front.length === 0 && !state.trials.some(each => each.id === rule.trim())) {
            throw new Error(`no trial satisfies all the constraints (${state.constraints.join(', ')}): search longer`);
        }
        const measured = state.trials.filter(trial => trial.measures);
        const front = recoveredFront(state.front, state.recovered, state.constraints, state.dense);
        select(choose(rule, front, measured, state.dense ?? { [METRIC]: declarationOf(METRIC).ideal }, state.objectives).id);
        find('refused').hidden = true;
    } catch (error) {
        find('refused').textContent = error.message;
        find('refused').hidden = false;
    }
}

async function begin() {
    try {
        declare(await ask('autoprune/measures'));
    } catch {
        setTimeout(begin, POLL_MS);
        return;
    }
    const { noun, side } = declarationOf(METRIC);
    for (const [id, first] of [['x', 'macs'], ['y', METRIC]]) {
        find(id).append(...MEASURES.map(
            name => element('option', declarationOf(name).noun, { value: name, selected: name === first })));
    }
    document.querySelectorAll('.metric').forEach(place => { place.textContent = noun; });
    find('by-metric').textContent = `${METRIC}${side}=NUMBER`;
    poll();
}

find('axes').addEventListener('change', draw);
find('axes').addEventListener('submit', event => event.preventDefault());
find('choose').addEventListener('submit', chooseByRule);
find('filter').form.addEventListener('submit', event => event.preventDefault());
find('filter').addEventListener('input', showTable);
find('front-only').addEventListener('change', showTable);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
begin();
