// Mends NNI 3.0's manager while it loads. Preloaded by `node --require`, through NODE_OPTIONS (see patches.py).
//
// One row per patched file: the fix's name, NNI's fault, and how it is mended. Those of one file are applied in order. AUTOPRUNE_WITHOUT="name,name" leaves
// fixes out, so that a test can show that the fault is still NNI's and the fix still needed.

'use strict';

const fs = require('node:fs');
const Module = require('node:module');
const path = require('node:path');
const { setTimeout: delay } = require('node:timers/promises');
const boundary = require('./boundary.js');
const checks = require('./checks.js');
const ends = require('./ends.js');
const files = require('./files.js');
const guard = require('./guard.js');
const page = require('./page.js');
const server = require('./server.js');
const slots = require('./slots.js');
const { Turns } = require('./turns.js');

// Questions whose answers grow with the number of trials.
const COSTLY = new RegExp('^/api/v1/(autoprune/(page|names|choice|trial|beside|exports)/?$|nni/(trial-jobs|metric-data|job-statistics|'
    + 'export-data|experiment/imported-data|experiment-metadata|experiments-info|trial-file))', 'i');
const QUICK = /^\/api\/v1\/nni\//i;
const DIED = 'the tuner process died; see log/dispatcher.log and log/nnictl_stderr.log';

const FIXES = [
    {
        name: 'parameters',
        fault: 'Trials get parameters in the order in which they ask, not their own.',
        file: 'training_service/v3/compat.js',
        apply({ V3asV1 }) {
            const start = V3asV1.prototype.start;
            V3asV1.prototype.start = function () {
                const { v3 } = this;
                const listen = v3.onRequestParameter;
                v3.onRequestParameter = () => listen.call(v3, async trialId => {
                    const parameters = await ownParameters(this.trialJobs, trialId);
                    if (parameters !== null) {
                        await v3.sendParameter(trialId, parameters);
                    }
                });
                return start.call(this);
            };
        },
    },
    {
        name: 'boundary',
        fault: 'Some requests end the manager or the search, get no answer, or may have 50 MB.',
        file: 'common/globals/rest.js',
        apply(exports) {
            exports.RestManager = class extends exports.RestManager {
                constructor() {
                    super();
                    this.app.set('env', 'production'); // no stack traces in answers
                    this.app.use((request, _response, next) => {
                        request.ws?.on('error', () => request.ws.terminate());
                        next();
                    });
                    this.router.stack.shift(); // NNI's parser of bodies
                    checks.addChecks(this.router);
                }
            };
        },
    },
    {
        name: 'turns',
        fault: 'Whoever asks for much again and again leaves the search no time.',
        file: 'common/globals/rest.js',
        apply(exports) {
            exports.RestManager = class extends exports.RestManager {
                constructor() {
                    super();
                    const [costly, quick] = [new Turns(), new Turns()];
                    this.router.get('*', (request, response, next) => {
                        const turns = [[COSTLY, costly], [QUICK, quick]].find(([kind]) => kind.test(request.path))?.[1];
                        turns === undefined ? next() : turns.take(request, response, next);
                    });
                }
            };
        },
    },
    {
        name: 'no_pickle',
        fault: 'Pickled objects in a request body are unpickled by the tuner and the trials.',
        file: 'common/globals/rest.js',
        apply(exports) {
            exports.RestManager = class extends exports.RestManager {
                constructor() {
                    super();
                    this.router.use((request, response, next) => {
                        if (guard.carriesCode(request.body)) {
                            response.status(400).send({ error: 'Bad request: pickled or imported objects' });
                        } else {
                            next();
                        }
                    });
                }
            };
        },
    },
    {
        name: 'page',
        fault: 'NNI has no view of a Pareto front, and its own web UI does not know what a pruning user needs.',
        file: 'common/globals/rest.js',
        apply(exports) {
            exports.RestManager = class extends exports.RestManager {
                constructor() {
                    super();
                    page.addRoutes(this.router, () => global.nni);
                }
            };
        },
    },
    {
        name: 'dispatcher',
        fault: 'The tuner runs in a dispatcher that hangs or stays silent when the tuner fails.',
        file: 'common/utils.js',
        apply(exports) {
            const { getMsgDispatcherCommand } = exports;
            exports.getMsgDispatcherCommand = config => getMsgDispatcherCommand(config).map(
                word => (word === 'nni' ? 'autoprune.nni.dispatcher' : word)
            );
        },
    },
    {
        name: 'dispatcher',
        fault: 'check-status hides why the tuner failed, and whether it has started.',
        file: 'core/nnimanager.js',
        apply({ NNIManager }) {
            const { addEventListeners, criticalError, getStatus, onTunerCommand } = NNIManager.prototype;
            // The first error is the reason. NNI's own loops trip over the status that it leaves, and would add theirs.
            NNIManager.prototype.criticalError = function (error) {
                if (this.status.status === 'ERROR') {
                    this.log.error('After the experiment failed:', error);
                } else {
                    criticalError.call(this, error);
                }
            };
            NNIManager.prototype.addEventListeners = function () {
                const tuner = this.dispatcher;
                const failed = error => this.criticalError(error);
                const onError = tuner.onError;
                tuner.onError = () => onError.call(tuner, failed); // instead of NNI's own listener
                addEventListeners.call(this);
                tuner.channel?.onLost(() => failed(new Error(DIED)));
            };
            NNIManager.prototype.onTunerCommand = async function (type, content) {
                if (type === 'UP') { // our dispatcher's own: the tuner answered its first request
                    this.tunerIsUp = true;
                } else {
                    await onTunerCommand.call(this, type, content);
                }
            };
            NNIManager.prototype.getStatus = function () {
                return { ...getStatus.call(this), tuner: this.tunerIsUp ? 'ready' : 'starting' };
            };
        },
    },
    {
        name: 'poll',
        fault: 'A finished trial is noticed after up to half a second, and the next one starts half a second later.',
        file: 'core/nnimanager.js',
        apply({ NNIManager }) {
            const { initTrainingService, pingDispatcher } = NNIManager.prototype;
            NNIManager.prototype.initTrainingService = async function (config) {
                const service = await initTrainingService.call(this, config);
                this.pollInterval = this.pollInterval < 1 ? 0.02 : this.pollInterval; // 5 s for Kubernetes stays
                return service;
            };
            NNIManager.prototype.pingDispatcher = function () { // at its own pace: a ping is a message
                return pingDispatcher.call(Object.create(this, { pollInterval: { value: 1 } }));
            };
        },
    },
    {
        name: 'early_stop',
        fault: 'A trial that an assessor or a person stops counts as failed if its process ends with a status.',
        file: 'training_service/v3/compat.js',
        apply({ V3asV1 }) {
            const { start, cancelTrialJob } = V3asV1.prototype;
            V3asV1.prototype.start = function () {
                const { v3 } = this;
                const listen = v3.onTrialEnd;
                this.cancelled = new Set();
                v3.onTrialEnd = callback => listen.call(v3, (trialId, time, exitCode) => {
                    const stopped = exitCode !== 0 && this.cancelled.has(trialId);
                    return callback(trialId, time, stopped ? null : exitCode);
                });
                return start.call(this);
            };
            V3asV1.prototype.cancelTrialJob = async function (trialId, isEarlyStopped) {
                this.cancelled.add(trialId);
                this.trialJobs[trialId].isEarlyStopped = Boolean(isEarlyStopped); // NNI says so after its end
                return cancelTrialJob.call(this, trialId, isEarlyStopped);
            };
        },
    },
    ...ends.FIXES,
    ...slots.FIXES,
    {
        name: 'sequence',
        fault: 'After a resume, sequence numbers of earlier trials are given out again.',
        file: 'core/nnimanager.js',
        apply({ NNIManager }) {
            const { addRecoveredTrialJob } = NNIManager.prototype;
            NNIManager.prototype.addRecoveredTrialJob = function (trials) {
                const recovered = addRecoveredTrialJob.call(this, trials);
                const used = trials.map(trial => trial.sequenceId ?? -1);
                this.experimentProfile.nextSequenceId = 1 + Math.max(-1, ...used);
                return recovered;
            };
        },
    },
    {
        name: 'loopback',
        fault: 'Remote machines that call back know no token.',
        file: 'common/globals/rest.js',
        apply({ RestManager }) {
            const { getFullUrl } = RestManager.prototype;
            RestManager.prototype.getFullUrl = function (protocol, ip, ...parts) {
                const url = getFullUrl.call(this, protocol, ip, ...parts);
                return guard.token === undefined || ip === 'localhost' ? url : `${url}?token=${guard.token}`;
            };
        },
    },
    {
        name: 'loopback',
        fault: 'Whoever opens a WebSocket at /tuner takes the place of the tuner.',
        file: 'common/utils.js',
        apply(exports) {
            const { getTunerProc } = exports;
            exports.getTunerProc = (command, stdio, folder, environment, ...rest) => {
                const { NNI_TUNER_COMMAND_CHANNEL: url } = environment;
                const known = url && { NNI_TUNER_COMMAND_CHANNEL: `${url}?secret=${guard.tunerSecret}` };
                return getTunerProc(command, stdio, folder, { ...environment, ...known }, ...rest);
            };
        },
    },
    {
        name: 'descriptors',
        fault: 'Two files of each trial stay open until no more can be opened.',
        file: 'common/trial_keeper/process.js',
        apply({ TrialProcess }) {
            const { spawn } = TrialProcess.prototype;
            TrialProcess.prototype.spawn = async function (options) {
                const opened = [];
                const { createWriteStream } = fs;
                fs.createWriteStream = (...args) => {
                    opened.push(createWriteStream(...args));
                    return opened.at(-1);
                };
                let spawning;
                try {
                    spawning = spawn.call(this, options); // makes both streams before it first waits
                } finally {
                    fs.createWriteStream = createWriteStream;
                }
                try {
                    return await spawning;
                } finally {
                    opened.forEach(stream => stream.destroy()); // the trial has its own
                }
            };
        },
    },
    {
        name: 'boundary',
        fault: 'A request that fails early is never answered.',
        file: 'rest_server/restHandler.js',
        apply(exports) {
            const { createRestHandler } = exports;
            exports.createRestHandler = () => {
                const router = createRestHandler();
                router.stack.pop(); // NNI's handler of errors
                return router.use(checks.answerError);
            };
        },
    },
    {
        name: 'boundary',
        fault: 'The experiment can be started over while it runs, and a metric that is none ends it.',
        file: 'core/nnimanager.js',
        apply({ NNIManager }) {
            const { onTrialJobMetrics } = NNIManager.prototype;
            for (const name of ['startExperiment', 'resumeExperiment']) {
                const begin = NNIManager.prototype[name];
                NNIManager.prototype[name] = async function (...args) {
                    if (this.begun) {
                        throw new Error('the experiment has been started already');
                    }
                    this.begun = true;
                    return boundary.outside(() => begin.apply(this, args));
                };
            }
            NNIManager.prototype.onTrialJobMetrics = async function (metric) {
                if (checks.isMetric(metric)) {
                    await onTrialJobMetrics.call(this, metric);
                } else {
                    this.log.warning(`Trial ${metric.id} reported something that is no metric`);
                }
            };
        },
    },
    {
        name: 'boundary',
        fault: 'A message that is no JSON ends the manager.',
        file: 'common/command_channel/websocket/connection.js',
        apply({ WsConnection }) {
            const { handleMessage } = WsConnection.prototype;
            WsConnection.prototype.handleMessage = function (...args) {
                boundary.contain(() => {}, () => handleMessage.apply(this, args));
            };
        },
    },
    {
        name: 'links',
        fault: "A link in a trial's folder leads to any file.",
        file: 'training_service/v3/compat.js',
        apply({ V3asV1 }) {
            V3asV1.prototype.getTrialFile = async function (trialId, name) {
                const folder = await this.v3.downloadTrialDirectory(trialId);
                const file = { stderr: 'trial.stderr', stdout: 'trial.stdout' }[name] ?? name;
                const found = files.isOwnFolder(folder) ? files.fileInside(folder, file) : null;
                if (found === null) {
                    throw new Error(`there is no file ${name} in the folder of trial ${trialId}`);
                }
                const isText = ['stderr', 'stdout', 'trial.log'].includes(name);
                return fs.promises.readFile(found, isText ? 'utf8' : null);
            };
        },
    },
    {
        name: 'netron',
        fault: "The manager serves another site's scripts, netron.app's, as if they were its own.",
        file: 'common/globals/rest.js',
        apply(exports) {
            exports.RestManager = class extends exports.RestManager {
                constructor() {
                    super();
                    this.router.all(['/netron', '/netron/*'], (_request, response) => {
                        response.status(404).send('Not Found: AutoPrune serves nothing from other sites');
                    });
                }
            };
        },
    },
    {
        name: 'loopback',
        fault: 'The web server listens on every interface, answers any host and origin, and serves any file.',
        file: null, // Node's own servers: mended at once, for every server that NNI opens
        apply() {
            server.listenOnLoopback();
            server.refuseForeignRequests(() => global.nni);
            boundary.catchLateErrors();
        },
    },
];

async function ownParameters(trials, trialId) {
    for (; ;) {
        if (!Object.hasOwn(trials, trialId)) {
            return null; // none of ours: a trial is known from its start
        }
        const trial = trials[trialId];
        // -1 marks the placeholder that stands in until the submitted form arrives.
        if (trial.form?.hyperParameters.index >= 0) {
            return trial.form.hyperParameters.value;
        }
        if (trial.endTime !== undefined) {
            return null;
        }
        await delay(10);
    }
}

// Children (trials, the tuner) must not inherit the preload.
function leaveNodeOptions() {
    const others = (process.env.NODE_OPTIONS ?? '').replaceAll(`--require ${JSON.stringify(__filename)}`, '').trim();
    if (others) {
        process.env.NODE_OPTIONS = others;
    } else {
        delete process.env.NODE_OPTIONS;
    }
}

function mendManager(root) {
    const without = (process.env.AUTOPRUNE_WITHOUT ?? '').split(',');
    const fixes = FIXES.filter(fix => !without.includes(fix.name));
    fixes.filter(fix => fix.file === null).forEach(fix => fix.apply());
    const load = Module._extensions['.js'];
    Module._extensions['.js'] = (module, filename) => {
        load(module, filename);
        fixes.filter(fix => fix.file && path.join(root, fix.file) === filename).forEach(fix => fix.apply(module.exports));
    };
}

leaveNodeOptions();
const main = process.argv[1] ?? '';
if (main.endsWith(path.join('nni_node', 'main.js'))) {
    mendManager(path.dirname(main));
}
