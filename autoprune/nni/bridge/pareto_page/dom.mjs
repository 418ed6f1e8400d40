// Elements of the page, and questions to the manager.

export const find = id => document.getElementById(id);

export function element(tag, text = '', attributes = {}) {
    const made = document.createElement(tag);
    made.textContent = text;
    Object.assign(made, attributes);
    return made;
}

const unseen = new Map(); // by place: how it is drawn, once it is seen

const seer = new IntersectionObserver(entries => entries.filter(each => each.isIntersecting).forEach(each => drawNow(each.target)),
    { rootMargin: '25% 0px' });

// Calls `draw` with a place as soon as it is on the screen, or nearly; of several such calls only the last counts.
export function whenSeen(place, draw) {
    unseen.set(place, draw);
    seer.unobserve(place);
    seer.observe(place); // which tells at once where it is
}

// Draws all that nobody has seen yet: paper shows everything.
export function drawUnseen() {
    [...unseen.keys()].forEach(drawNow);
}

function drawNow(place) {
    const draw = unseen.get(place);
    unseen.delete(place);
    seer.unobserve(place);
    draw(place);
}

// Returns the manager's answer to a question about `path`, or to a command, as a value.
export async function ask(path, options = {}) {
    const response = await fetch(`../api/v1/${path}`, options);
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) {
        throw new Error(answer.error ?? `the manager answers ${response.status}`);
    }
    return answer;
}

export function command(method, path, content) {
    const [headers, body] = [{ 'Content-Type': 'application/json' }, JSON.stringify(content)];
    return ask(path, { method, headers, body });
}

// Lets a browser save `content`, a Blob, as a file.
export function save(content, name) {
    const href = URL.createObjectURL(content);
    element('a', '', { href, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(href), 10000);
}
