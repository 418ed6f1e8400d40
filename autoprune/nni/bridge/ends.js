// How trials, the tuner and managers end, called by its name: fixes of the same form as those of manager.js.

'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { writeWhole } = require('./files.js');

const INITIALIZED = 'ID'; // the tuner is made: NNI's first word from it

const FIXES = [
    {
        name: 'resumed',
        fault: 'A trial that waited to be run again when its manager was killed is never run again.',
        file: 'core/nniDataStore.js',
        apply({ NNIDataStore }) {
            const { getJobStatusByLatestEvent } = NNIDataStore.prototype;
            NNIDataStore.prototype.getJobStatusByLatestEvent = function (oldStatus, event) {
                return event === 'ADD_RESUMED' ? 'WAITING' : getJobStatusByLatestEvent.call(this, oldStatus, event);
            };
        },
    },
    {
        name: 'resumed',
        fault: 'A trial whose result was stored just before its manager was killed is run a second time.',
        file: 'core/nnimanager.js',
        apply({ NNIManager }) {
            const { resumeExperiment } = NNIManager.prototype;
            NNIManager.prototype.resumeExperiment = async function (readonly) {
                if (!readonly) {
                    fs.rmSync(errorFile(), { force: true });
                    await endTrialsWithResult(this.dataStore);
                }
                return resumeExperiment.call(this, readonly);
            };
        },
    },
    {
        name: 'resumed',
        fault: 'A resumed trial that ends before the tuner is up has it asked before it knows the results: some run twice.',
        file: 'core/nnimanager.js',
        apply({ NNIManager }) {
            const { requestTrialJobs, onTunerCommand } = NNIManager.prototype;
            NNIManager.prototype.requestTrialJobs = function (count) {
                if (this.tunerIsToldResults) {
                    requestTrialJobs.call(this, count);
                } else {
                    this.requestsHeld = (this.requestsHeld ?? 0) + count;
                }
            };
            NNIManager.prototype.onTunerCommand = async function (type, content) {
                if (type !== INITIALIZED) {
                    return onTunerCommand.call(this, type, content);
                }
                this.tunerIsToldResults = true; // by NNI's own answer to this command
                await onTunerCommand.call(this, type, content);
                if (this.requestsHeld) {
                    requestTrialJobs.call(this, this.requestsHeld);
                }
            };
        },
    },
    {
        name: 'duration',
        fault: 'Trials that run when the time allowed is over go on without limit, and so does the experiment.',
        file: 'core/nnimanager.js',
        apply({ NNIManager }) {
            const { stopTrialIfOverMaxDurationLimit } = NNIManager.prototype; // called over and over
            NNIManager.prototype.stopTrialIfOverMaxDurationLimit = async function () {
                await stopTrialIfOverMaxDurationLimit.call(this);
                if (this.experimentProfile.execDuration > this.maxDuration) {
                    const running = Array.from(this.trialJobs.keys());
                    await Promise.all(running.map(id => this.trainingService.cancelTrialJob(id, true)));
                }
            };
        },
    },
    {
        name: 'signals',
        fault: 'A trial that was killed by a signal counts as cancelled by its user, without a reason.',
        file: 'common/trial_keeper/process.js',
        apply({ TrialProcess }) {
            const { spawn, kill, onStop } = TrialProcess.prototype;
            TrialProcess.prototype.spawn = function (options) {
                this.folder = options.outputDirectory;
                fs.rmSync(failureFile(this.folder), { force: true }); // of the run that this one goes on with
                return spawn.call(this, options);
            };
            TrialProcess.prototype.kill = function (timeout) {
                this.stopWanted = true;
                return kill.call(this, timeout);
            };
            TrialProcess.prototype.onStop = function (callback) {
                onStop.call(this, (time, code, signal) => {
                    const number = signal ? os.constants.signals[signal] : code - 128; // a shell adds 128 to it
                    const name = nameOf(number);
                    if (this.stopWanted || name === undefined) {
                        return callback(time, code, signal);
                    }
                    writeOnce(failureFile(this.folder), `killed by signal ${number} (${name})${hint(name)}`);
                    return callback(time, 128 + number, signal);
                });
            };
        },
    },
    {
        name: 'dispatcher',
        fault: 'Why an experiment failed is forgotten when its manager ends.',
        file: 'core/nnimanager.js',
        apply({ NNIManager }) {
            const { criticalError } = NNIManager.prototype;
            NNIManager.prototype.criticalError = function (error) {
                if (!['ERROR', 'STOPPING', 'STOPPED'].includes(this.status.status)) {
                    writeOnce(errorFile(), `${error?.message ?? error}`.replace(/\s+/g, ' '));
                }
                criticalError.call(this, error);
            };
        },
    },
    {
        name: 'registry',
        fault: "A manager that is killed while it notes its status leaves the registry of all experiments empty.",
        file: 'extensions/experiments_manager/manager.js',
        apply({ ExperimentsManager }) {
            for (const name of ['setExperimentInfo', 'updateAllStatus']) {
                const note = ExperimentsManager.prototype[name];
                ExperimentsManager.prototype[name] = function (...args) {
                    const { writeFileSync } = fs;
                    fs.writeFileSync = (file, text) => {
                        fs.writeFileSync = writeFileSync;
                        writeWhole(file, text);
                    };
                    try {
                        return note.apply(this, args);
                    } finally {
                        fs.writeFileSync = writeFileSync;
                    }
                };
            }
        },
    },
];

async function endTrialsWithResult(store) {
    const results = await store.getMetricData(undefined, 'FINAL');
    const withResult = new Set(results.map(metric => metric.trialJobId));
    for (const trial of await store.listTrialJobs()) {
        if (['WAITING', 'RUNNING'].includes(trial.status) && withResult.has(trial.trialJobId)) {
            await store.storeTrialJobEvent('SUCCEEDED', trial.trialJobId);
        }
    }
}

function errorFile() {
    return path.join(global.nni.paths.logDirectory, 'tuner_error.txt');
}

function failureFile(folder) {
    return path.join(folder, 'failure.txt');
}

function nameOf(number) {
    return Object.entries(os.constants.signals).find(([, each]) => each === number)?.[0];
}

function hint(name) {
    return name === 'SIGKILL' ? ': by the system, for want of memory, or by hand' : '';
}

// Whoever knew the reason first knew it best.
function writeOnce(file, text) {
    try {
        if (!fs.existsSync(file)) {
            writeWhole(file, `${text}\n`);
        }
    } catch (error) {
        console.error(`${file}: ${error.message}`);
    }
}

module.exports = { FIXES };
