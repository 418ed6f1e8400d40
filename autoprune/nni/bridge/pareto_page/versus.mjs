// Another search beside this one, as autoprune/report/versus.py compares them.

import { ask, element, find } from './dom.mjs';

const PAUSE_MS = 20000; // searches come and go slowly

let due = 0;
let found = null; // the comparison that is shown
let whenNew = () => {};

// draw is called once there is another front to draw, or none any more.
export function connectVersus(draw) {
    whenNew = draw;
    find('other').addEventListener('change', () => {
        found = null;
        find('versus').replaceChildren();
        draw();
        compareSearches();
    });
    find('versus-form').addEventListener('submit', event => event.preventDefault());
}

// The other search with its fronts, as state has this one's, or null where none can be drawn.
export function otherSearch() {
    return found?.alike ? found : null;
}

// Offers the searches that there are now.
export async function offerSearches() {
    if (Date.now() < due) {
        return;
    }
    due = Date.now() + PAUSE_MS;
    const searches = await ask('autoprune/searches').catch(() => []);
    const now = JSON.stringify(searches);
    find('versus-section').hidden = searches.length === 0 && !find('other').value;
    if (find('other').dataset.shown !== now && document.activeElement !== find('other')) {
        find('other').dataset.shown = now;
        const { value } = find('other');
        find('other').replaceChildren(...[{ id: '', name: 'none' }, ...searches].map(
            ({ id, name }) => element('option', id ? `${name} (${id})` : name, { value: id, selected: id === value })));
    }
}

// Shows how the two searches compare now.
export async function compareSearches() {
    const id = find('other').value;
    if (!id) {
        return;
    }
    const answer = await ask(`autoprune/beside?other=${encodeURIComponent(id)}`).catch(error => ({ error: error.message }));
    if (id !== find('other').value || JSON.stringify(answer) === find('versus').dataset.shown && found) {
        return;
    }
    find('versus').dataset.shown = JSON.stringify(answer);
    const byId = new Map((answer.trials ?? []).map(trial => [trial.id, trial]));
    const fronts = Object.entries(answer.fronts ?? {}).map(([pair, ids]) => [pair, ids.map(each => byId.get(each))]);
    found = { ...answer, fronts: Object.fromEntries(fronts) };
    show(answer);
    whenNew();
}

function show({ error, id, name, notes = [], summary = [], size, sizes = [] }) {
    const parts = [error, ...notes].filter(Boolean).map(text => element('p', text, { className: error ? 'error' : 'note' }));
    if (summary.length > 0) {
        parts.push(table('the two searches', ['', 'this search', `${name} (${id})`], summary));
    }
    if (sizes.length > 0) {
        const headings = [`at most this part of the dense ${size}`, 'this search', `${name} (${id})`, 'the other against this'];
        parts.push(table('both fronts at like sizes', headings, sizes));
    }
    find('versus').replaceChildren(...parts);
}

function table(about, headings, rows) {
    const made = element('table', '', { className: 'versus' });
    made.createTHead().insertRow().append(...headings.map(text => element(text ? 'th' : 'td', text, text ? { scope: 'col' } : {})));
    const body = made.createTBody();
    rows.forEach(([title, ...texts]) => body.insertRow().append(
        element('th', title, { scope: 'row' }), ...texts.map(text => element('td', text))));
    const scroll = element('div', '', { className: 'scroll', tabIndex: 0, role: 'region', ariaLabel: about });
    scroll.append(made);
    return scroll;
}
