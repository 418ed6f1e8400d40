// The buttons that command the search: pause and go on, more trials, stop.

import { ask, command, find } from './dom.mjs';

const RUNS = ['INITIALIZED', 'RUNNING', 'NO_MORE_TRIAL', 'TUNER_NO_MORE_TRIAL'];

let shown = null; // { state, status } that the buttons are about
let over = null; // is called once the search was stopped here

export function connectActions(whenStopped) {
    over = whenStopped;
    find('pause').addEventListener('click', () => carryOut(() => command('PUT', 'autoprune/paused', { paused: !shown.status.paused })));
    find('more').addEventListener('click', () => find('more-dialog').showModal());
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

async function more() {
    const count = find('more-count').valueAsNumber;
    if (!(Number.isInteger(count) && count > 0)) {
        throw new Error('the number of trials must be 1 or more');
    }
    const { params } = await ask('nni/experiment');
    const maxTrialNumber = params.maxTrialNumber + count;
    await command('PUT', 'nni/experiment?update_type=MAX_TRIAL_NUM', { params: { maxTrialNumber } });
}
