// Mends NNI 3.0's manager while it loads. Preloaded by `node --require`, through NODE_OPTIONS (see door.py).
//
// One row per patched file: the fix's name, NNI's fault, and how it is mended. AUTOPRUNE_WITHOUT="name,name" leaves
// fixes out, so that a test can show that the fault is still NNI's and the fix still needed.

'use strict';

const http = require('node:http');
const Module = require('node:module');
const net = require('node:net');
const path = require('node:path');
const { setTimeout: delay } = require('node:timers/promises');
const ends = require('./ends.js');
const guard = require('./guard.js');
const page = require('./page.js');

const DIED = 'the tuner process died; see log/dispatcher.log and log/nnictl_stderr.log';

const FIXES = [
    {
        name: 'parameters',
        fault: 'Trials get parameters in the order in which they ask, not their own.',
        file: 'training_service/v3/compat.js',
        mend({ V3asV1 }) {
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
        name: 'no_pickle',
        fault: 'Pickled objects in a request body are unpickled by the tuner and the trials.',
        file: 'common/globals/rest.js',
        mend(exports) {
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
        mend(exports) {
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
        mend(exports) {
            const { getMsgDispatcherCommand } = exports;
            exports.getMsgDispatcherCommand = config => getMsgDispatcherCommand(config).map(
                word => (word === 'nni' ? 'autoprune.experiment.dispatcher' : word)
            );
        },
    },
    {
        name: 'dispatcher',
        fault: 'check-status hides why the tuner failed, and whether it has started.',
        file: 'core/nnimanager.js',
        mend({ NNIManager }) {
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
        mend({ NNIManager }) {
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
        mend({ V3asV1 }) {
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
    {
        name: 'sequence',
        fault: 'After a resume, sequence numbers of earlier trials are given out again.',
        file: 'core/nnimanager.js',
        mend({ NNIManager }) {
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
        mend({ RestManager }) {
            const { getFullUrl } = RestManager.prototype;
            RestManager.prototype.getFullUrl = function (protocol, ip, ...parts) {
                const url = getFullUrl.call(this, protocol, ip, ...parts);
                return guard.token === undefined || ip === 'localhost' ? url : `${url}?token=${guard.token}`;
            };
        },
    },
    {
        name: 'netron',
        fault: "The manager serves another site's scripts, netron.app's, as if they were its own.",
        file: 'common/globals/rest.js',
        mend(exports) {
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
        mend() {
            listenOnLoopback();
            refuseForeignRequests();
        },
    },
];

async function ownParameters(trials, trialId) {
    for (; ;) {
        const trial = trials[trialId];
        // -1 marks the placeholder that stands in until the submitted form arrives.
        if (trial?.form?.hyperParameters.index >= 0) {
            return trial.form.hyperParameters.value;
        }
        if (trial?.endTime !== undefined) {
            return null;
        }
        await delay(10);
    }
}

function listenOnLoopback() {
    const listen = net.Server.prototype.listen;
    const { openedAddress, ANY_ADDRESS } = guard;
    net.Server.prototype.listen = function (...args) {
        const [options, callback] = net._normalizeArgs(args);
        if (options.port === undefined) {
            return listen.apply(this, args); // a pipe
        }
        const host = ANY_ADDRESS.includes(openedAddress) ? openedAddress : '127.0.0.1';
        if (openedAddress !== undefined && openedAddress !== host) {
            // The tuner and local trials keep using loopback; this second door leads to the same server.
            this.once('listening', () => {
                const door = net.createServer(socket => this.emit('connection', socket));
                door.on('error', error => this.emit('error', error));
                this.once('close', () => door.close());
                listen.call(door, { host: openedAddress, port: this.address().port });
            });
        }
        return listen.call(this, { ...options, host }, callback);
    };
}

function refuseForeignRequests() {
    const emit = http.Server.prototype.emit;
    http.Server.prototype.emit = function (event, ...args) {
        const isRequest = ['request', 'upgrade', 'checkContinue', 'checkExpectation'].includes(event);
        const refused = isRequest ? guard.refusal(args[0]) : null;
        if (refused === null) {
            const headers = event === 'request' ? guard.tokenToCookie(args[0]) : null;
            if (headers === null) {
                return emit.call(this, event, ...args);
            }
            args[1].writeHead(303, headers).end();
            return true;
        }
        const [status, reason] = refused;
        const reply = args[1]; // a response, or an upgrade's socket
        if (event === 'upgrade') {
            reply.end(`HTTP/1.1 ${status} ${http.STATUS_CODES[status]}\r\nConnection: close\r\n\r\n`);
        } else {
            reply.writeHead(status, { 'Content-Type': 'text/plain', Connection: 'close' });
            reply.end(reason);
        }
        return true;
    };
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
    fixes.filter(fix => fix.file === null).forEach(fix => fix.mend());
    const load = Module._extensions['.js'];
    Module._extensions['.js'] = (module, filename) => {
        load(module, filename);
        fixes.filter(fix => fix.file && path.join(root, fix.file) === filename).forEach(fix => fix.mend(module.exports));
    };
}

leaveNodeOptions();
const main = process.argv[1] ?? '';
if (main.endsWith(path.join('nni_node', 'main.js'))) {
    mendManager(path.dirname(main));
}
