// Exporting a chosen trial for the Pareto page: the one action that the page can ask of this machine.
//
// A request names a trial and nothing else. The trial must have left a model in the experiment's folder; the command
// is started without a shell, one at a time, and writes into the experiment's folder, exports/TRIAL.

'use strict';

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { fileInside, isOwnFolder } = require('./files.js');

const TRIAL_ID = /^[A-Za-z0-9]+$/;
const EXPORT = 'from autoprune.cli import main; main()';

class Exports {
    // nni: the manager's globals, with its paths and arguments.
    constructor(nni) {
        this.nni = nni;
        this.states = {}; // by trial: { state, message }
    }

    get folder() {
        return path.join(this.nni.paths.experimentRoot, 'exports');
    }

    // Returns [status, answer] to a request to export `trial`.
    start(trial) {
        if (typeof trial !== 'string' || !TRIAL_ID.test(trial)) {
            return [400, { error: 'trial must be the id of a trial' }];
        }
        const trials = path.join(this.nni.paths.experimentRoot, 'environments', 'local-env', 'trials');
        const folder = path.join(trials, trial);
        if (!isOwnFolder(folder) || fileInside(folder, 'model.pt') === null) {
            return [404, { error: `no trial ${trial} has a model on this machine` }];
        }
        if (Object.values(this.states).some(each => each.state === 'running')) {
            return [409, { error: 'another export runs: wait for its end' }];
        }
        if (fs.existsSync(this.folder) && !isOwnFolder(this.folder)) {
            return [409, { error: `${this.folder} is no folder` }];
        }
        this.run(trial);
        return [202, this.list()[trial]];
    }

    run(trial) {
        const [draft, final] = [`${trial}-draft`, trial].map(name => path.join(this.folder, name));
        fs.rmSync(draft, { recursive: true, force: true });
        fs.mkdirSync(draft, { recursive: true });
        const { experimentId, pythonInterpreter } = this.nni.args;
        const words = ['-P', '-c', EXPORT, 'export', experimentId, '--choose', trial, '-o', draft];
        const child = spawn(pythonInterpreter, words, {
            cwd: this.folder,
            env: { ...process.env, OMP_NUM_THREADS: '1' },
            stdio: ['ignore', 'ignore', 'pipe'],
        });
        const state = this.states[trial] = { state: 'running', message: '' };
        let said = '';
        child.stderr.on('data', data => { said = (said + data).slice(-4000); });
        child.on('error', error => { Object.assign(state, { state: 'failed', message: error.message }); });
        child.on('close', status => {
            const message = said.trim().split('\n').at(-1) || `the export ended with status ${status}`;
            try {
                if (status === 0) {
                    fs.rmSync(final, { recursive: true, force: true });
                    fs.renameSync(draft, final);
                }
                Object.assign(state, status === 0 ? { state: 'done' } : { state: 'failed', message });
            } catch (error) {
                Object.assign(state, { state: 'failed', message: error.message });
            }
        });
    }

    // Returns every export by its trial's id, those of an earlier manager too: { state, message, files }.
    list() {
        const found = {};
        for (const trial of names(this.folder).filter(name => TRIAL_ID.test(name))) {
            const folder = path.join(this.folder, trial);
            const files = names(folder).filter(name => fileInside(folder, name) !== null);
            found[trial] = { state: 'done', message: '', files };
        }
        for (const [trial, state] of Object.entries(this.states)) {
            found[trial] = { files: [], ...found[trial], ...state };
        }
        return found;
    }

    // Returns the path of an exported file, or null. Only names of files that the folder lists lead anywhere.
    file(trial, name) {
        const known = new Map(Object.entries(this.list())).get(trial);
        return known?.files.includes(name) ? fileInside(path.join(this.folder, trial), name) : null;
    }
}

// What lies in a folder; nothing in one that is elsewhere, and only a link here.
function names(folder) {
    return isOwnFolder(folder) ? fs.readdirSync(folder) : [];
}

module.exports = { Exports, TRIAL_ID };
