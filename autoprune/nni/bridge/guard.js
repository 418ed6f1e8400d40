// What the manager's HTTP server refuses, and why. No knowledge of NNI.

'use strict';

const crypto = require('node:crypto');
const os = require('node:os');

const ANY_ADDRESS = ['0.0.0.0', '::'];

// The address that a person opened on purpose (remote machines call back to it), or undefined.
const openedAddress = process.env.AUTOPRUNE_BIND || undefined;

// What requests through the opened address must show; without one that address stays shut. Children must not inherit it.
const token = process.env.AUTOPRUNE_TOKEN || undefined;
delete process.env.AUTOPRUNE_TOKEN;

const LOOPBACK = ['127.0.0.1', '::1', '::ffff:127.0.0.1'];

// Whether a request came through the opened address. No other machine can reach a loopback address.
function cameFromOutside(request) {
    return !LOOPBACK.includes(request.socket.localAddress);
}

function cookieName(request) {
    return `autoprune_${request.socket.localPort}`; // browsers do not keep ports apart
}

function shownTokens(request) {
    const bearer = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '');
    const cookies = (request.headers.cookie ?? '').split(';').map(each => each.trim().split('='));
    const cookie = cookies.find(([name]) => name === cookieName(request));
    return [bearer?.[1], cookie?.[1], inUrl(request.url, 'token')].filter(Boolean);
}

function inUrl(url, name) {
    const query = url.split('?').slice(1).join('?');
    return new URLSearchParams(query).get(name) ?? undefined;
}

// Compares in constant time.
function same(text, secret) {
    const hash = value => crypto.createHash('sha256').update(value).digest();
    return crypto.timingSafeEqual(hash(text), hash(secret));
}

function isToken(text) {
    return token !== undefined && same(text, token);
}

function lacksToken(request) {
    return cameFromOutside(request) && !shownTokens(request).some(isToken);
}

// Returns the headers that turn a page's ?token= into a cookie and take it out of the address bar, else null. Another
// token than ours is left where it is: it becomes no cookie, and replaces none.
function tokenToCookie(request) {
    const page = request.method === 'GET' && (request.headers.accept ?? '').includes('text/html');
    if (!page || !cameFromOutside(request) || !isToken(inUrl(request.url, 'token') ?? '')) {
        return null;
    }
    const [path, ...query] = request.url.split('?');
    const rest = new URLSearchParams(query.join('?'));
    rest.delete('token');
    return {
        'Set-Cookie': `${cookieName(request)}=${token}; Path=/; HttpOnly; SameSite=Lax`,
        'Referrer-Policy': 'no-referrer',
        // One slash: //other.example would lead elsewhere.
        Location: path.replace(/^\/+/, '/') + ([...rest].length > 0 ? `?${rest}` : ''),
    };
}

function ownHostNames() {
    const names = ['127.0.0.1', 'localhost', '[::1]'];
    if (ANY_ADDRESS.includes(openedAddress)) {
        // Literal addresses only: a foreign page can point its own *name* at us, never our address.
        const addresses = Object.values(os.networkInterfaces()).flat();
        names.push(...addresses.map(a => (a.family === 'IPv6' ? `[${a.address}]` : a.address)));
    } else if (openedAddress) {
        names.push(openedAddress.includes(':') ? `[${openedAddress}]` : openedAddress.toLowerCase());
    }
    return names;
}

function foreignHost(host) {
    const match = /^(\[[0-9a-f:]+\]|[^:/@?#\s]+)(:\d+)?$/i.exec(host ?? '');
    return match === null || !ownHostNames().includes(match[1].toLowerCase());
}

function foreignOrigin(origin, host) {
    return origin !== undefined && origin.toLowerCase() !== `http://${host.toLowerCase()}`;
}

function climbs(url) {
    let path = url.split('?', 1)[0];
    for (let previous = null; path !== previous;) {
        if (/[\\\0]/.test(path) || path.split('/').includes('..')) {
            return true;
        }
        previous = path;
        try {
            path = decodeURIComponent(path);
        } catch {
            break; // a literal % in a file name: nothing left to decode
        }
    }
    return false;
}

// Returns [status, reason] for a request that must not be answered, else null.
function refusal(request) {
    const { host, origin } = request.headers;
    if (foreignHost(host)) {
        return [403, 'Forbidden: this host name is not ours'];
    }
    if (foreignOrigin(origin, host)) {
        return [403, 'Forbidden: cross-origin request'];
    }
    if (lacksToken(request)) {
        return [401, 'Unauthorized: open the address that was printed at the start, with its ?token='];
    }
    if (climbs(request.url)) {
        return [400, 'Bad request: path traversal'];
    }
    return null;
}

// Keys for which nni.load() or json_tricks unpickles, imports or calls something.
const CODE_MARKERS = [
    '__nni_type__', '__nni_obj__', '__symbol__', '__instance_type__', '__enum__', '__enum_instance_type__',
];
const PLAIN_DTYPE = /^(bool_?|u?int\d*|float\d*|complex\d*)$/;

const DEEPEST = 100; // Python's parser gives up at about a thousand levels

// Whether a parsed request body would make nni.load() run code, at any depth, also in JSON kept inside strings. What is
// nested too deeply to tell counts as code.
function carriesCode(value, depth = 0) {
    if (typeof value === 'string') {
        return textCarriesCode(value);
    }
    if (value === null || typeof value !== 'object') {
        return false;
    }
    if (depth > DEEPEST) {
        return true;
    }
    // json_tricks calls numpy's function of that name: a type name is fine, "load" is not.
    if ('__ndarray__' in value && !PLAIN_DTYPE.test(value.dtype)) {
        return true;
    }
    return Object.entries(value).some(([key, item]) => textCarriesCode(key) || carriesCode(item, depth + 1));
}

function textCarriesCode(text) {
    const plain = text.replace(/\\+u([0-9a-f]{4})/gi, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
    if (CODE_MARKERS.some(marker => plain.includes(marker))) {
        return true;
    }
    if (text === '__ndarray__' || !plain.includes('__ndarray__')) {
        return false;
    }
    try {
        return carriesCode(JSON.parse(text.replace(/-?\b(NaN|Infinity)\b/g, 'null')));
    } catch {
        return true; // Python may read what we cannot
    }
}

// What the tuner shows that the manager has started: nobody else may speak as the tuner.
const tunerSecret = crypto.randomBytes(24).toString('base64url');

// Returns [status, reason] for a WebSocket that must not be opened, else null.
// nni: the manager's arguments; `tunerCommandChannel` means that the tuner was not started by the manager.
function webSocketRefusal(request, { urlPrefix, tunerCommandChannel }) {
    const names = value => value.toLowerCase().split('/').filter(Boolean);
    const [root] = names(request.url.split('?', 1)[0]).slice(names(urlPrefix).length);
    if (root === 'platform') { // remote machines report here
        return null;
    }
    if (root !== 'tuner') {
        return [404, 'Not Found'];
    }
    const known = tunerCommandChannel || same(inUrl(request.url, 'secret') ?? '', tunerSecret);
    return known ? null : [403, 'Forbidden: only the tuner that the manager has started speaks here'];
}

module.exports = { ANY_ADDRESS, openedAddress, token, tunerSecret, refusal, webSocketRefusal, tokenToCookie, carriesCode };
