// What the search learned: sections and figures as autoprune/report/learned.py makes them, for the report as well.

import { whenSeen } from './dom.mjs';
import { PLAIN, layout, theme } from './plots.mjs';

const PAUSE_MS = 5000; // it is worked out in the background, and asked for less often than results

let known = { of: '', sections: [] };
let due = 0;

// Asks (ask returns a promise of an answer's JSON) if it is time, and shows what is new in `place`.
export async function refreshLearned(place, ask) {
    if (Date.now() < due) {
        return;
    }
    due = Date.now() + PAUSE_MS;
    const found = await ask(`autoprune/learned?known=${encodeURIComponent(known.of)}`).catch(error => ({ ...known, error: error.message }));
    const isNew = found.of !== known.of && found.sections !== undefined;
    if (isNew) {
        known = found;
        showLearned(place);
    }
    say(place, found);
}

// Draws what is known, in the present colours.
export function showLearned(place) {
    const places = known.sections.map(section => sectionOf(place, section));
    place.querySelectorAll('section').forEach(old => places.includes(old) || old.remove());
    place.append(...places.filter(each => each.parentNode !== place));
    known.sections.forEach(section => section.figures.forEach((figure, i) => make(figurePlace(section, i), figure)));
}

// The section's element, made if need be: one that stays keeps its plots, and the page does not jump.
function sectionOf(place, { id, title, words, figures }) {
    const kept = place.querySelector(`#learned-${id}`);
    const section = kept ?? element('section', { id: `learned-${id}`, className: 'wide' });
    const notes = words.map(text => element('p', { className: 'note', textContent: text }));
    const grid = section.querySelector('.figures') ?? element('div', { className: 'figures' });
    grid.classList.toggle('many', figures.length > 1);
    while (grid.children.length > figures.length) {
        grid.lastChild.remove();
    }
    figures.slice(grid.children.length).forEach(() => grid.append(framed(figurePlaceId(id, grid.children.length))));
    section.replaceChildren(element('h2', { textContent: title }), ...notes, grid);
    return section;
}

function framed(id) {
    const frame = element('div', { className: 'frame' });
    frame.append(element('div', { id }));
    frame.firstChild.setAttribute('role', 'img');
    return frame;
}

function figurePlaceId(id, i) {
    return i === 0 ? id : `${id}-figure-${i}`;
}

function figurePlace({ id }, i) {
    return document.getElementById(figurePlaceId(id, i));
}

// Makes room for a figure, and draws it once it is seen.
function make(place, figure) {
    const { height, about, least } = figure;
    place.setAttribute('aria-label', about);
    place.style.height = `${height}px`;
    place.style.minWidth = least ? `${least}px` : '';
    place.parentNode.tabIndex = least ? 0 : -1; // it scrolls where there is little room
    whenSeen(place, () => draw(place, figure));
}

function draw(place, { data, layout: own, height }) {
    const names = data.filter(trace => trace.name && trace.showlegend !== false).map(trace => trace.name);
    const look = layout(place, theme(), own, own.showlegend === false || names.length < 2 ? [] : names);
    const margin = own.margin ?? { l: 50, r: 16, t: 16, b: look.margin.b };
    Plotly.react(place, data, { ...look, height, margin }, PLAIN);
}

function say(place, { error, working }) {
    const words = error ?? (working && known.sections.length === 0 ? 'What the search learned is being worked out ...' : '');
    let line = place.querySelector('.state');
    line ??= place.appendChild(element('p', { className: 'note state' }));
    line.setAttribute('role', 'status');
    line.textContent = words;
    line.hidden = words === '';
}

function element(tag, attributes) {
    return Object.assign(document.createElement(tag), attributes);
}
