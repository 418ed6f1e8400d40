// The drawing of a network, layer by layer, as autoprune/report/drawing.py makes it.

let shown = null; // what was drawn: a trial's id, '' for the dense network

// Draws the network of the trial with this id, or the dense one, in `place`; ask returns a promise of an answer's JSON.
// again: whether the results have changed.
export async function showNetwork(place, ask, trial, again = false) {
    const wanted = trial ?? '';
    if (shown === wanted && !again) {
        return;
    }
    shown = wanted;
    const found = await ask(`autoprune/network?trial=${encodeURIComponent(wanted)}`).catch(error => ({ refused: error.message }));
    if (shown !== wanted) {
        return; // another one was selected meanwhile
    }
    const { title, words, svg, refused } = found;
    place.querySelector('.title').textContent = title ? `: ${title.toLowerCase()}` : '';
    place.querySelector('.note').textContent = refused ?? words;
    const drawn = svg ? [document.importNode(new DOMParser().parseFromString(svg, 'image/svg+xml').documentElement, true)] : [];
    const drawing = place.querySelector('.drawing');
    const kept = drawing.scrollTop;
    drawing.replaceChildren(...drawn);
    drawing.scrollTop = kept;
    drawing.hidden = drawn.length === 0;
}
