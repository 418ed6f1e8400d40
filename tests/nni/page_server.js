// Serves the Pareto page of an experiment's folder as the manager does, with all of ours and none of NNI's: quick to
// start, and what the page commands is printed instead of done. Arguments: the folder, Python, NNI's package, bridge/.

'use strict';

const { createRequire } = require('node:module');
const path = require('node:path');

const [folder, pythonInterpreter, nniNode, bridge] = process.argv.slice(2);
const express = createRequire(path.join(nniNode, 'main.js'))('express');
const page = require(path.join(bridge, 'page.js'));

const status = { status: process.env.STATUS ?? 'RUNNING', errors: [], paused: false };
const paths = { experimentRoot: folder, logDirectory: path.join(folder, 'log') };
const app = express();
const api = '/api/v1/nni';
const note = (request, response) => {
    console.log(JSON.stringify([request.method, request.originalUrl, request.body]));
    response.json({});
};

app.use(express.json());
app.get('/icon.png', (_request, response) => response.sendFile(path.join(nniNode, 'static', 'icon.png')));
app.get(`${api}/check-status`, (_request, response) => response.json(status));
app.put('/api/v1/autoprune/paused', (request, response) => {
    status.paused = request.body.paused;
    note(request, response);
});
app.get(`${api}/experiment`, (_request, response) => response.json(JSON.parse(process.env.EXPERIMENT)));
app.put(`${api}/experiment`, note);
app.delete(`${api}/experiment`, (request, response) => {
    note(request, response);
    setTimeout(() => process.exit(), 50);
});
page.addRoutes(app, () => ({ paths, args: { pythonInterpreter, experimentId: path.basename(folder) } }));
const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port));
