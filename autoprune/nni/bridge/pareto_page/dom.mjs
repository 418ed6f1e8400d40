// Elements of the page, and questions to the manager.

export const find = id => document.getElementById(id);

export function element(tag, text = '', attributes = {}) {
    const made = document.createElement(tag);
    made.textContent = text;
    Object.assign(made, attributes);
    return made;
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
