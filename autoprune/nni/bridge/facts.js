// What the Pareto page must know beyond NNI's own API, read from what the trials left in the experiment's folder.

'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { readText } = require('./files.js');

class Facts {
    // nni: the manager's globals, with its paths.
    constructor(nni) {
        this.nni = nni;
        this.dense = null; // the dense model's measures
        this.channels = {}; // of the dense model, by group, in the network's order
        this.kept = {}; // by trial, then by group
        this.reasons = {}; // why trials failed, by trial
    }

    read() {
        const { experimentRoot, logDirectory } = this.nni.paths;
        const trials = path.join(experimentRoot, 'environments', 'local-env', 'trials');
        for (const trial of folders(trials)) {
            if (!(trial in this.kept)) {
                this.add(trial, json(path.join(trials, trial, 'result.json')));
            }
            if (!(trial in this.reasons)) {
                const reason = readText(path.join(trials, trial, 'failure.txt'));
                if (reason !== null) {
                    this.reasons[trial] = reason.trim();
                }
            }
        }
        const { dense, channels, kept, reasons } = this;
        const sensitivity = json(path.join(logDirectory, 'sensitivity.json'));
        const recovered = json(path.join(experimentRoot, 'recovered.json')) ?? {}; // networks fine-tuned to the end
        return { dense, channels, kept, reasons, sensitivity, recovered };
    }

    add(trial, record) {
        if (record !== null) {
            this.dense ??= record.dense ?? null;
            this.channels = { ...this.channels, ...record.channels };
            this.kept[trial] = record.kept ?? {};
        }
    }
}

function folders(folder) {
    const entries = fs.existsSync(folder) ? fs.readdirSync(folder, { withFileTypes: true }) : [];
    return entries.filter(entry => entry.isDirectory()).map(entry => entry.name);
}

function json(file) {
    try {
        return JSON.parse(readText(file));
    } catch {
        return null; // half-written
    }
}

module.exports = { Facts };
