// An error boundary around each request: what goes wrong while one is answered ends that request, not the manager.

'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');

const requests = new AsyncLocalStorage(); // its store: how to fail the request in whose course something runs

// Runs `action`; what it throws, then or later in a callback or a promise, is logged, and `fail` called.
function contain(fail, action) {
    return requests.run(fail, () => {
        try {
            return action();
        } catch (error) {
            failed(error);
            return undefined;
        }
    });
}

// Runs `action`, which a request has started, as the manager's own: its errors are not the request's.
function outside(action) {
    return requests.exit(action);
}

function failed(error) {
    console.error('A request failed:', error); // log/nnictl_stderr.log
    try {
        requests.getStore()();
    } catch (another) {
        console.error('It could not be answered:', another);
    }
}

// Node ends the process on an error that nobody caught: so it remains for all that no request has caused.
function catchLateErrors() {
    process.on('unhandledRejection', error => {
        if (requests.getStore() === undefined) {
            throw error;
        }
        failed(error);
    });
    process.on('uncaughtException', error => {
        if (requests.getStore() === undefined) {
            console.error('Uncaught:', error);
            process.exit(1);
        }
        failed(error);
    });
}

module.exports = { contain, outside, catchLateErrors };
