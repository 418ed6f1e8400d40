// What a request's body must be before NNI sees it: bodies that NNI cannot use would end its search.

'use strict';

const Module = require('node:module');

const MOST_BYTES = '1mb';
const DURATION = /^\d+(\.\d+)?[smhd]$/i;
const TRIAL = /^[A-Za-z0-9]+$/;

const isObject = value => value !== null && typeof value === 'object' && !Array.isArray(value);
const isCount = value => Number.isInteger(value) && value > 0;

const CHANGES = {
    TRIAL_CONCURRENCY: ({ trialConcurrency }) => isCount(trialConcurrency),
    MAX_TRIAL_NUM: ({ maxTrialNumber }) => isCount(maxTrialNumber),
    MAX_EXEC_DURATION: ({ maxExperimentDuration: limit }) => (
        typeof limit === 'number' ? limit > 0 : DURATION.test(limit)
    ),
    SEARCH_SPACE: ({ searchSpace }) => isObject(searchSpace),
};

// By method and path: why a request must not be carried out, or nothing.
const CHECKS = [
    ['put', '/experiment', ({ body, query }) => {
        const fits = Object.hasOwn(CHANGES, query.update_type) && isObject(body.params);
        return fits && CHANGES[query.update_type](body.params) ? null : 'this is no change of an experiment';
    }],
    ['post', '/trial-jobs', request => (
        request.is('application/json') && isObject(request.body) ? null : 'parameters must be an object'
    )],
    ['post', '/experiment/import-data', ({ body }) => (
        Array.isArray(body) && body.every(each => isObject(each?.parameter) && 'value' in each)
            ? null : 'data must be a list of { parameter, value }'
    )],
    ['get', '/trial-file/:id/:name', ({ params }) => (TRIAL.test(params.id) ? null : 'this is no id of a trial')],
];

// Adds the limit and the checks to `router`, an express router, before all else that it does.
function addChecks(router) {
    const express = Module.createRequire(process.argv[1])('express');
    router.use(express.json({ limit: MOST_BYTES }), answerError);
    router.put('/api/v1/nni/experiment/cluster-metadata', (_request, response) => {
        response.status(404).json({ error: 'not of these training services' }); // NNI would end itself
    });
    for (const [method, path, refusal] of CHECKS) {
        router[method](`/api/v1/nni${path}`, (request, response, next) => {
            const reason = refusal(request);
            if (reason === null) {
                next();
            } else {
                response.status(400).json({ error: reason });
            }
        });
    }
}

// An express handler of errors, such as a body that is no JSON (400) or too large (413).
function answerError(error, _request, response, next) {
    if (response.headersSent) {
        next(error);
    } else {
        response.status(error.status ?? 500).set('Connection', 'close').json({ error: String(error.message) });
    }
}

// Whether what a trial has sent as { id, data } is a metric that NNI's database and the tuner can read.
function isMetric({ id, data }) {
    try {
        const { trial_job_id: trial, type, value } = JSON.parse(data);
        return trial === id && typeof type === 'string' && typeof value === 'string' && isJson(value);
    } catch {
        return false;
    }
}

function isJson(text) {
    JSON.parse(text.replace(/-?\b(NaN|Infinity)\b/g, 'null')); // Python's
    return true;
}

module.exports = { addChecks, answerError, isMetric };
