// What the manager serves beside NNI's own: the Pareto page at /pareto/, its data at /api/v1/autoprune/, and NNI's web
// UI with a script of ours in it (see webui/webui.mjs).

'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { Exports, TRIAL_ID } = require('./exports.js');
const { UNTRUSTED, fileInside, isOwnFolder, readEnd } = require('./files.js');
const { PageData } = require('./page_data.js');

const PAGE = path.join(__dirname, 'pareto_page');
const PLOTLY = process.env.AUTOPRUNE_PLOTLY; // the script in Python's plotly package; see patches.py
const TYPES = { '.html': 'text/html', '.css': 'text/css', '.mjs': 'text/javascript' };
const FILES = new Map([
    ['', [path.join(PAGE, 'index.html'), 'text/html']],
    ...fs.readdirSync(PAGE).filter(name => name !== 'index.html')
        .map(name => [name, [path.join(PAGE, name), TYPES[path.extname(name)]]]),
    ['plotly.js', [PLOTLY, 'text/javascript']],
]);

const MOST_OF_A_LOG = 64 * 1024; // bytes

const WEBUI = path.join(__dirname, 'webui');
const WEBUI_FILES = new Map(Object.entries({
    'webui.mjs': 'text/javascript',
    'webui.css': 'text/css',
    'icons.css': 'text/css',
}));
const IN_WEBUI = '<script type="module" src="autoprune/webui.mjs"></script><link href="autoprune/icons.css" rel="stylesheet">'
    + '<link href="autoprune/webui.css" rel="stylesheet">';

// Our page loads nothing from elsewhere, runs no script of the data's, and cannot be framed.
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    + "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

// NNI's web UI is built of inline scripts, but neither needs anything from elsewhere.
const WEBUI_POLICY = "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; worker-src 'self' blob:; "
    + "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; base-uri 'none'; "
    + "frame-ancestors 'none'";

function webuiPage() {
    const page = fs.readFileSync(path.resolve('static', 'index.html'), 'utf8'); // as NNI's own rest_server finds it
    return page.replace('<head>', `<head>${IN_WEBUI}`);
}

// Returns the end of what a trial printed, or null if it has no folder here.
function trialLog(root, trial) {
    const folder = path.join(root, 'environments', 'local-env', 'trials', trial);
    if (!isOwnFolder(folder)) {
        return null;
    }
    const [stdout, stderr] = ['stdout', 'stderr'].map(name => readEnd(path.join(folder, `trial.${name}`), MOST_OF_A_LOG));
    return { stdout, stderr };
}

// Adds the routes to `router`, an express router; `nni` returns the manager's globals.
function addRoutes(router, nni) {
    let data, exports;
    router.use((_request, response, next) => {
        response.set({ 'Content-Security-Policy': WEBUI_POLICY, 'X-Content-Type-Options': 'nosniff' });
        next();
    });
    router.use(['/api/', '/env/'], (_request, response, next) => {
        response.set(UNTRUSTED);
        next();
    });
    router.get('/logs/*', (request, response) => {
        const file = fileInside(nni().paths.logDirectory, request.params[0]);
        if (file === null) {
            response.status(404).send('Not Found');
        } else {
            response.set(UNTRUSTED).type('text/plain').sendFile(file, { dotfiles: 'allow' });
        }
    });
    router.use('/logs', (_request, response) => {
        response.status(404).send('Not Found');
    });
    router.get('/pareto', (request, response, next) => {
        if (request.path.endsWith('/')) {
            next();
        } else {
            response.redirect(301, 'pareto/');
        }
    });
    router.get('/pareto/:name?', (request, response) => {
        const [file, type] = FILES.get(request.params.name ?? '') ?? [];
        if (file === undefined) {
            response.status(404).send('Not Found');
        } else {
            response.set('Content-Security-Policy', POLICY).type(type).sendFile(file);
        }
    });
    router.get(['/', '/index.html', '/oview', '/detail', '/experiment'], (_request, response) => {
        response.type('text/html').send(webuiPage());
    });
    router.get('/autoprune/:name', (request, response) => {
        const type = WEBUI_FILES.get(request.params.name);
        if (type === undefined) {
            response.status(404).send('Not Found');
        } else {
            response.type(type).sendFile(path.join(WEBUI, request.params.name));
        }
    });
    router.get('/api/v1/autoprune/:ask(page|names|choice|trial|network|learned|searches|beside)', async (request, response) => {
        data ??= new PageData(nni());
        const { since, rule, trial, known, other } = request.query;
        const [status, answer] = await data.ask({ ask: request.params.ask, since, rule, trial, known, other });
        response.status(status).type('json').send(answer);
    });
    router.get('/api/v1/autoprune/log/:trial', (request, response) => {
        const log = TRIAL_ID.test(request.params.trial) ? trialLog(nni().paths.experimentRoot, request.params.trial) : null;
        if (log === null) {
            response.status(404).json({ error: 'no trial of this id has a folder on this machine' });
        } else {
            response.json(log);
        }
    });
    router.get('/api/v1/autoprune/exports', (_request, response) => {
        exports ??= new Exports(nni());
        response.json(exports.list());
    });
    router.post('/api/v1/autoprune/exports', (request, response) => {
        if (!request.is('application/json')) {
            // A foreign page may send text or forms to us without asking; JSON it may not.
            response.status(415).json({ error: 'Content-Type must be application/json' });
            return;
        }
        exports ??= new Exports(nni());
        const [status, answer] = exports.start(request.body?.trial);
        response.status(status).json(answer);
    });
    router.get('/api/v1/autoprune/exports/:trial/:name', (request, response) => {
        exports ??= new Exports(nni());
        const file = exports.file(request.params.trial, request.params.name);
        if (file === null) {
            response.status(404).json({ error: 'no such file' });
        } else {
            response.download(file, { dotfiles: 'allow' }); // the experiment's folder may lie in one
        }
    });
}

module.exports = { addRoutes };
