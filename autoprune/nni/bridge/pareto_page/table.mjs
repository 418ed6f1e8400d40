// The table of trials: sorted, filtered, a part of it at a time, and saved as it is sorted and filtered.

import { element, find, save } from './dom.mjs';

const STEP = 100; // rows

let sorting = { column: 'number', descending: true };
let most = STEP;
let showAgain = () => {};

export function connectTable(whenChanged) {
    showAgain = whenChanged;
    find('filter').form.addEventListener('submit', event => event.preventDefault());
    find('filter').addEventListener('input', begin);
    find('front-only').addEventListener('change', begin);
    find('trials-more').addEventListener('click', () => { most += STEP; showAgain(); });
}

function begin() {
    most = STEP;
    showAgain();
}

function columns(state) {
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

// The trials that are wanted, in the order that is wanted.
function wantedTrials(state, all, front) {
    const words = find('filter').value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = state.trials.filter(trial => {
        if (find('front-only').checked && !front.has(trial.id)) {
            return false;
        }
        const text = words.length && [trial.id, trial.name, trial.status, trial.reason, trial.parameters].join(' ').toLowerCase();
        return words.every(word => text.includes(word));
    });
    const { value } = all.find(column => column.key === sorting.column) ?? all[0];
    const sign = sorting.descending ? -1 : 1;
    const keyed = wanted.map(trial => [value(trial), trial]);
    keyed.sort(([a], [b]) => (a === undefined) - (b === undefined) || sign * (a > b ? 1 : a < b ? -1 : 0));
    return keyed.map(([, trial]) => trial);
}

// pick is called with the id of a trial that was selected.
export function showTable(state, chosen, pick) {
    const all = columns(state);
    showHeadings(all);
    const front = new Set(state.front.map(trial => trial.id));
    const wanted = wantedTrials(state, all, front);
    const focused = document.activeElement?.closest('#trials tr')?.dataset.trial;
    const rows = wanted.slice(0, most).map(trial => row(trial, all, front.has(trial.id), trial.id === chosen, pick));
    find('trials').tBodies[0].replaceChildren(...rows);
    if (focused) { // a redrawn row keeps the keyboard's focus
        rows.find(each => each.dataset.trial === focused)?.querySelector('button').focus({ preventScroll: true });
    }
    find('trials-shown').textContent = wanted.length > most ? `${most} of ${wanted.length} trials.` : '';
    find('trials-more').hidden = wanted.length <= most;
}

function showHeadings(all) {
    const known = all.map(({ key }) => [key, sorting.column === key && sorting.descending]).join();
    const head = find('trials').tHead;
    const now = `${known} ${sorting.column}`;
    if (head.dataset.shown === now) {
        return;
    }
    head.dataset.shown = now;
    const focused = document.activeElement?.dataset.column;
    head.replaceChildren(element('tr'));
    for (const column of all) {
        const isSorted = sorting.column === column.key;
        const heading = element('th', '', { className: column.words ? 'text' : '', scope: 'col' });
        if (isSorted) {
            heading.ariaSort = sorting.descending ? 'descending' : 'ascending';
        }
        const button = element('button', column.title, { type: 'button', onclick: () => sortBy(column.key) });
        button.dataset.column = column.key;
        heading.append(button);
        head.rows[0].append(heading);
        if (focused === column.key) {
            button.focus();
        }
    }
}

function row(trial, all, onFront, isChosen, pick) {
    const names = [isChosen && 'chosen', onFront && 'front', trial.status === 'FAILED' && 'failed'];
    const made = element('tr', '', { className: names.filter(Boolean).join(' '), onclick: () => pick(trial.id) });
    made.dataset.trial = trial.id;
    const [first, ...others] = all;
    const cell = element('th', '', { scope: 'row' });
    cell.append(element('button', first.text(trial), { type: 'button', className: 'link', ariaPressed: String(isChosen) }));
    made.append(cell, ...others.map(column => element(
        'td', (column.text ?? column.value)(trial) ?? '', { className: column.words ? 'text' : '' })));
    return made;
}

function sortBy(key) {
    sorting = { column: key, descending: sorting.column === key ? !sorting.descending : key !== 'id' };
    showAgain();
}

// What the table shows, all of its rows, as numbers; saved as a file.
export function saveTable(state) {
    const all = columns(state);
    const wanted = wantedTrials(state, all, new Set(state.front.map(trial => trial.id)));
    const titles = ['trial', 'id', 'name', ...all.slice(2).map(column => column.key), 'reason'];
    const rows = wanted.map(trial => [
        trial.number, trial.id, trial.name.replace(/^\d+: /, ''), ...all.slice(2).map(column => column.value(trial)), trial.reason]);
    const text = [titles, ...rows].map(cells => cells.map(inCsv).join(',')).join('\r\n');
    save(new Blob([`${text}\r\n`], { type: 'text/csv' }), `${state.id}.csv`);
}

// Spreadsheets take text that begins like a formula for one.
function inCsv(value) {
    const text = String(value ?? '').replace(typeof value === 'string' ? /^(?=[=+@\t\r-])/ : /$^/, "'");
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
