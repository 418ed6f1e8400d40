// What runs now, and, before the first candidate has finished, what is being prepared.

import { element, find } from './dom.mjs';

const [MOST_REASONS, MOST_TRIALS] = [8, 5]; // that are listed, of all and of one reason

// openLog is called with the id of a trial whose log is asked for.
export function showRunning(state, status, openLog) {
    const isBeginning = state.candidates.length === 0;
    const runs = !['DONE', 'ERROR', 'STOPPED', 'STOPPING', 'VIEWED'].includes(status.status);
    find('running').hidden = !isBeginning && state.doing.length === 0;
    find('running-title').textContent = isBeginning ? (runs ? 'Being prepared' : 'Nothing to show') : 'Running now';
    find('prepared').hidden = !isBeginning;
    find('prepared').textContent = isBeginning ? beginning(state, status, runs) : '';
    const place = find('doing');
    const now = state.doing.map(({ id, name }) => `${id} ${name}`).join();
    if (place.dataset.shown !== now) {
        place.dataset.shown = now;
        place.replaceChildren(...state.doing.map(each => row(each, openLog)));
    }
    state.doing.forEach((each, i) => say(place.children[i], each));
}

function beginning(state, { tuner }, runs) {
    if (!runs) {
        return 'No trial has finished with a result.';
    }
    const { dense, measures } = state;
    const model = dense ? `The dense model is there (${measures.map(({ noun }, i) => `${noun} ${dense.texts[i]}`).join(', ')}). ` : '';
    if (state.doing.length > 0) {
        return `${model}No candidate has finished yet; the plots follow with the first. Now at work:`;
    }
    return model + (tuner === 'starting' ? 'The tuner starts.' : `The ${state.ended > 0 ? 'next' : 'first'} trial is about to start.`);
}

function row({ id, name }, openLog) {
    const made = element('li');
    made.append(
        element('button', `${name} (${id})`, { type: 'button', className: 'link', onclick: () => openLog(id) }),
        element('progress', '', { max: 1, ariaLabel: `steps of ${name}` }),
        element('span', '', { className: 'words' }),
    );
    return made;
}

function say(row, { words, share, started }) {
    const [bar, text] = [row.querySelector('progress'), row.querySelector('.words')];
    bar.hidden = share === null;
    bar.value = share ?? 0;
    text.textContent = words || `running for ${duration((Date.now() - started) / 1000)}`;
}

function duration(seconds) {
    const whole = Math.max(0, Math.round(seconds));
    return whole < 120 ? `${whole} s` : `${Math.floor(whole / 60)} min`;
}

// The trials that failed, by reason, the latest reason first.
export function showFailed(state, pick) {
    const failed = state.trials.filter(trial => trial.status === 'FAILED').reverse();
    find('failed').hidden = failed.length === 0;
    const now = failed.map(trial => `${trial.id} ${trial.reason}`).join('\n');
    if (find('failures').dataset.shown === now) {
        return;
    }
    find('failures').dataset.shown = now;
    const byReason = Map.groupBy(failed, trial => trial.reason ?? 'no result');
    find('failures').replaceChildren(...[...byReason].slice(0, MOST_REASONS).map(([reason, trials]) => {
        const made = element('li');
        made.append(element('span', reason, { className: 'error' }), element('br'));
        trials.slice(0, MOST_TRIALS).forEach(trial => made.append(
            element('button', trial.name, { type: 'button', className: 'link', onclick: () => pick(trial.id) }), ' '));
        if (trials.length > MOST_TRIALS) {
            made.append(`and ${trials.length - MOST_TRIALS} more`);
        }
        return made;
    }));
    const others = byReason.size - MOST_REASONS;
    if (others > 0) {
        find('failures').append(element('li', `${others} other reasons: type "failed" into the filter of the trials below`));
    }
}
