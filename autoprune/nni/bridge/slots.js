// When trials start: a search can be paused, and goes on where more trials are allowed. Fixes of the same form as those of
// manager.js.

'use strict';

const Module = require('node:module');

const OVER = ['DONE', 'ERROR', 'STOPPING', 'STOPPED', 'VIEWED'];

const FIXES = [
    {
        name: 'more_trials',
        fault: 'Trials that are allowed after the last one was started are never run, or fewer at once.',
        file: 'core/nnimanager.js',
        apply({ NNIManager }) {
            const { requestTrialJobsStatus } = NNIManager.prototype; // called over and over, just before trials are requested
            NNIManager.prototype.requestTrialJobsStatus = async function () {
                const ended = await requestTrialJobsStatus.call(this);
                const { execDuration } = this.experimentProfile;
                const isFull = execDuration > this.maxDuration || this.currSubmittedTrialNum >= this.maxTrialNum;
                // NNI requests a trial for each that has ended; while no more are allowed, it forgets to.
                if (isFull) {
                    this.requestsOwed = (this.requestsOwed ?? 0) + ended + this.trialConcurrencyChange;
                    this.trialConcurrencyChange = -ended;
                } else {
                    this.trialConcurrencyChange += this.requestsOwed ?? 0;
                    this.requestsOwed = 0;
                }
                return ended;
            };
        },
    },
    {
        name: 'pause',
        fault: 'NNI can stop a search, but not pause it.',
        file: 'core/nnimanager.js',
        apply({ NNIManager }) {
            const { getStatus, periodicallyUpdateExecDuration, requestTrialJobsStatus } = NNIManager.prototype;
            // What was proposed and has not been started waits in `held`. Trials that run go on to their end.
            NNIManager.prototype.setPaused = function (paused) {
                this.paused = paused;
                this.held ??= [];
                if (paused) {
                    this.held.push(...this.waitingTrials.splice(0));
                } else {
                    this.waitingTrials.unshift(...this.held.splice(0));
                }
            };
            NNIManager.prototype.requestTrialJobsStatus = async function () {
                const ended = await requestTrialJobsStatus.call(this);
                if (this.paused) {
                    this.setPaused(true); // what was proposed since
                }
                return ended;
            };
            NNIManager.prototype.getStatus = function () {
                return { ...getStatus.call(this), paused: this.paused ?? false };
            };
            // Time that passes while nothing runs is not the search's.
            NNIManager.prototype.periodicallyUpdateExecDuration = function () {
                const isIdle = () => this.paused && this.trialJobs.size === 0 && this.status.status === 'RUNNING';
                const status = { get: () => (isIdle() ? { status: 'PAUSED' } : this.status) };
                return periodicallyUpdateExecDuration.call(Object.create(this, { status }));
            };
        },
    },
    {
        name: 'pause',
        fault: 'NNI can stop a search, but not pause it.',
        file: 'common/globals/rest.js',
        apply(exports) {
            exports.RestManager = class extends exports.RestManager {
                constructor() {
                    super();
                    // Like all that commands, in JSON: a foreign page may send us text or forms without asking.
                    this.router.put('/api/v1/autoprune/paused', (request, response) => {
                        const [status, answer] = pause(request.is('application/json') ? request.body?.paused : null);
                        response.status(status).json(answer);
                    });
                }
            };
        },
    },
];

// Returns [status, answer] to a request to pause the search, or to let it go on.
function pause(paused) {
    if (typeof paused !== 'boolean') {
        return [400, { error: 'paused must be true or false, in JSON' }];
    }
    const { IocShim } = Module.createRequire(process.argv[1])('./common/ioc_shim');
    const manager = IocShim.get({ name: 'Manager' });
    if (OVER.includes(manager.getStatus().status)) {
        return [409, { error: 'the search does not run' }];
    }
    manager.setPaused(paused);
    return [200, { paused }];
}

module.exports = { FIXES };
