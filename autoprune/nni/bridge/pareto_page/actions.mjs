// The buttons that command the search: pause and go on, more trials, stop.

import { ask, command, find } from './dom.mjs';

const RUNS = ['INITIALIZED', 'RUNNING', 'NO_MORE_TRIAL', 'TUNER_NO_MORE_TRIAL'];

let shown = null; // { state, status } that the buttons are about
let over = null; // is called once the search was stopped here

export function connectActions(whenStopped) {
    over = whenStopped;
    find('pause').addEventListener('click', () => carryOut(() => command('PUT', 'autoprune/paused', { paused: !shown.status.paused })));
    find('more').addEventListener('click', () => carryOut(offerMore));
    find('stop').addEventListener('click', () => find('stop-dialog').showModal());
    for (const dialog of document.querySelectorAll('dialog')) {
        dialog.querySelectorAll('button').forEach(button => button.addEventListener('click', () => {
            dialog.close();
            carryOut({ stop, more }[button.value]);
        }));
    }
}

export function showActions(state, status) {
    shown = { state, status };
    const runs = RUNS.includes(status.status);
    const words = status.paused ? 'Go on' : 'Pause';
    find('pause').hidden = !runs;
    find('more').hidden = !(runs || status.status === 'DONE') || !state.total;
    find('stop').hidden = status.status === 'STOPPING';
    if (find('pause').textContent !== words) {
        find('pause').textContent = words;
    }
    find('stop').textContent = status.status === 'VIEWED' ? 'Stop viewing' : 'Stop';
    document.querySelector('#stop-dialog .resume').textContent = `autoprune resume ${state.id}`;
}

async function carryOut(action) {
    find('trouble').hidden = true;
    try {
        await action?.();
    } catch (error) {
        find('trouble').textContent = `That was not done: ${error.message}`;
        find('trouble').hidden = false;
    }
}

async function stop() {
    await ask('nni/experiment', { method: 'DELETE' }).catch(error => {
        if (!(error instanceof TypeError)) { // which means that it has ended before it answered
            throw error;
        }
    });
    document.querySelectorAll('#actions button').forEach(button => { button.hidden = true; });
    over();
}

// A search ends with its trials or with its time, whichever is first: both can be prolonged.
async function offerMore() {
    find('more-time').hidden = true;
    find('more-minutes').value = 0;
    find('more-dialog').showModal();
    const { limit, spent } = await limits();
    find('more-time').hidden = limit === Infinity;
    find('time-left').textContent = spent > limit
        ? `The time allowed, ${inMinutes(limit)}, is over: trials alone would not be started.`
        : `Of the time allowed, ${inMinutes(limit)}, ${inMinutes(limit - spent)} are left; more trials alone do not prolong it.`;
    find('more-minutes').value = spent > limit ? Math.ceil(limit / 60) : 0;
}

async function more() {
    const [count, minutes] = ['more-count', 'more-minutes'].map(id => find(id).valueAsNumber);
    if (!(Number.isInteger(count) && count > 0)) {
        throw new Error('the number of trials must be 1 or more');
    }
    const { trials, limit, spent } = await limits();
    if (limit !== Infinity && !(minutes >= 0)) {
        throw new Error('the minutes must be 0 or more');
    }
    if (spent > limit && !(minutes > 0)) {
        throw new Error('the time allowed is over: give the search minutes too');
    }
    if (limit !== Infinity && minutes > 0) {
        const maxExperimentDuration = `${Math.round(Math.max(limit, spent) + 60 * minutes)}s`;
        await command('PUT', 'nni/experiment?update_type=MAX_EXEC_DURATION', { params: { maxExperimentDuration } });
    }
    await command('PUT', 'nni/experiment?update_type=MAX_TRIAL_NUM', { params: { maxTrialNumber: trials + count } });
}

// What the search may use and has used: trials, and seconds.
async function limits() {
    const { params, execDuration } = await ask('nni/experiment');
    return { trials: params.maxTrialNumber, limit: inSeconds(params.maxExperimentDuration), spent: execDuration ?? 0 };
}

// Reads a duration as NNI writes it: a number, or 90s, 30m, 2h, 1d; without one there is no limit.
function inSeconds(duration) {
    const [, number, unit] = /^([\d.]+)\s*([smhd]?)$/i.exec(String(duration ?? '').trim()) ?? [];
    return number === undefined ? Infinity : Number(number) * { s: 1, m: 60, h: 3600, d: 86400 }[unit.toLowerCase() || 's'];
}

const inMinutes = seconds => (seconds < 120 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`);
