// The Pareto page: asks the manager every two seconds, and shows what is new. What a front is, what a rule chooses and how
// a number is written is for autoprune/nni/page_data.py to say.

import { connectActions, showActions } from './actions.mjs';
import { showDetails, showExports, showLog } from './details.mjs';
import { ask, drawUnseen, element, find, whenSeen } from './dom.mjs';
import { refreshLearned, showLearned } from './learned.mjs';
import { showNetwork } from './network.mjs';
import { drawFront, drawKept, drawVolume, keptHeight, savePicture } from './plots.mjs';
import { showFailed, showRunning } from './running.mjs';
import { readPage } from './state.mjs';
import { connectTable, saveTable, showTable } from './table.mjs';
import { compareSearches, connectVersus, offerSearches, otherSearch } from './versus.mjs';

const POLL_MS = 2000;

let state = null; // see readPage
let chosen = null; // a trial's id
let beside = null; // the id of a trial that it is compared with
let isStopped = false; // from here
const drawn = new Map(); // by plot: what it shows, and how

// Asking ------------------------------------------------------------------------------------------------------------

async function poll() {
    try {
        const version = state ? `?since=${encodeURIComponent(state.version)}` : ''; // index.html asks the first time, before us
        const [status, answer, exported] = await Promise.all(
            ['nni/check-status', `autoprune/page${version}`, 'autoprune/exports'].map(path => ask(path)));
        find('trouble').hidden = true;
        update(status, answer);
        showExports(exported);
        await Promise.all([showLog(), offerSearches(), compareSearches()]);
    } catch (error) {
        if (!isStopped) {
            const isGone = error instanceof TypeError; // nobody answered
            find('trouble').textContent = `No news: ${error.message}${isGone ? '. Has the experiment been stopped?' : ''}`;
            find('trouble').hidden = false;
        }
    }
    if (!isStopped) {
        setTimeout(poll, POLL_MS);
    }
}

function update(status, answer) {
    const [isFirst, begun] = [state === null, performance.now()];
    state = readPage(answer, state);
    if (isFirst) {
        showMeasures();
    }
    showProgress(status);
    showActions(state, status);
    showRunning(state, status, openLog);
    if (answer.trials) {
        draw();
        whenSeen(find('network'), drawNetwork);
        requestAnimationFrame(() => performance.measure('shown', { start: begun })); // see experiments/page_speed.py
    }
    refreshLearned(find('learned'), ask);
}

function showStopped() {
    isStopped = true;
    find('progress').textContent = `stopped; \`autoprune resume ${state.id}\` goes on, \`nnictl view ${state.id}\` shows this page again`;
    find('running').hidden = true;
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
    const word = status.paused ? 'paused' : status.status.toLowerCase().replaceAll('_', ' ');
    find('name').textContent = `${name} (${id})`;
    document.title = `${ended}/${total} ${name}: Pareto front`;
    const words = [[word, counts, `${front.length} on the front`, ...status.errors].join(', ')];
    if (words[0] !== find('progress').textContent) { // it is read out
        find('progress').textContent = words[0];
    }
    find('bar').max = state.total || Math.max(ended, 1);
    find('bar').value = ended;
}

function draw() {
    if (state === null) {
        return;
    }
    const points = state.candidates.length + Object.values(state.baselines).flat().length;
    const there = { points, candidates: state.candidates.length, front: state.front.length };
    document.querySelectorAll('[data-needs]').forEach(section => { section.hidden = !there[section.dataset.needs]; });
    if (points > 0) {
        drawPoints();
    }
    showFailed(state, pick);
    showTrials();
}

// Draws everything in other colours, or at another width.
function drawAll() {
    draw();
    showLearned(find('learned'));
}

function drawPoints() {
    drawTheFront();
    find('constraints').textContent = state.constraints.length === 0 ? '' :
        `It keeps within the search's constraints: ${state.constraints.join(', ')}.`;
    drawLater('volume', [state.told.volume], place => drawVolume(place, state));
    find('kept').style.height = `${keptHeight(state)}px`;
    drawLater('kept', [state.told.kept, state.told.groups], place => drawKept(place, state, select));
}

const drawNetwork = place => showNetwork(place, ask, chosen);

// Draws a plot once it is seen, and only if `content` or how it is drawn has changed.
function drawLater(id, content, drawIt) {
    const place = find(id);
    const looks = [place.clientWidth, document.documentElement.className, matchMedia('(prefers-color-scheme: dark)').matches];
    const now = [...content, ...looks];
    if (drawn.get(id)?.every((each, i) => each === now[i])) {
        return;
    }
    drawn.set(id, now);
    whenSeen(place, drawIt);
}

function drawTheFront() {
    const view = { x: find('x').value, y: find('y').value, xlog: find('xlog').checked, ylog: find('ylog').checked,
        others: find('others').checked, chosen, other: otherSearch() };
    find('front-words').textContent = drawFront(find('front'), state, view, select);
}

function showTrials() {
    if (state !== null) {
        find('trial').hidden = state.candidates.length === 0 && chosen === null;
        showTable(state, chosen, pick);
        showDetails(state, chosen, beside, { compare, again: showTrials });
    }
}

// Selecting ---------------------------------------------------------------------------------------------------------

function select(id) {
    chosen = id;
    whenSeen(find('network'), drawNetwork);
    if (!find('front').closest('section').hidden) {
        drawTheFront();
    }
    showTrials();
}

// Selects a trial from a list, and goes to its details.
function pick(id) {
    select(id);
    find('trial-name')?.focus();
}

function openLog(id) {
    pick(id);
    find('log')?.setAttribute('open', '');
}

function compare(id) {
    beside = id;
    showTrials();
    find('compare')?.focus();
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

// On paper: light, and as wide as the paper.
function forPaper(isPrinted) {
    document.documentElement.classList.toggle('paper', isPrinted);
    drawAll();
    if (isPrinted) {
        drawUnseen();
    }
}

find('axes').addEventListener('change', draw);
find('axes').addEventListener('submit', event => event.preventDefault());
find('front-png').addEventListener('click', () => savePicture(find('front'), `${state.id}-front`));
find('choose').addEventListener('submit', chooseByRule);
find('trials-csv').addEventListener('click', () => saveTable(state));
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawAll);
matchMedia('(max-width: 40rem)').addEventListener('change', draw);
addEventListener('beforeprint', () => forPaper(true));
addEventListener('afterprint', () => forPaper(false));
connectTable(showTrials);
connectVersus(() => find('front').closest('section').hidden || drawTheFront());
connectActions(showStopped);
poll();
