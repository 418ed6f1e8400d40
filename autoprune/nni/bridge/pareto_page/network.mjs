// The drawing of a network, layer by layer, as autoprune/report/drawing.py makes it.

let shown = null; // what was asked for last: a trial's id, '' for the dense network
let isSettled = false; // then what is drawn of it stays

// Draws the network of the trial with this id, or the dense one, in `place`; ask returns a promise of an answer's JSON.
export async function showNetwork(place, ask, trial) {
    const wanted = trial ?? '';
    if (shown === wanted && isSettled) {
        return;
    }
    shown = wanted;
    const found = await ask(`autoprune/network?trial=${encodeURIComponent(wanted)}`).catch(error => ({ refused: error.message }));
    if (shown !== wanted) {
        return; // another one was selected meanwhile
    }
    const { title, words, svg, refused, settled } = found;
    place.querySelector('.title').textContent = title ? `: ${title[0].toLowerCase()}${title.slice(1)}` : '';
    place.querySelector('.note').textContent = refused ?? words;
    isSettled = settled === true;
    const drawn = svg ? [document.importNode(new DOMParser().parseFromString(svg, 'image/svg+xml').documentElement, true)] : [];
    const drawing = place.querySelector('.drawing');
    const kept = drawing.scrollTop; // the same layers of another trial
    drawing.replaceChildren(...drawn);
    drawing.scrollTop = kept;
    drawing.hidden = drawn.length === 0;
}
