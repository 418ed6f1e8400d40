// Runs in NNI's web UI before its own scripts: shows what a pruning user needs, by means that the UI has itself.
// (They are deferred, as modules are, and come later on the page.)

import { METRIC, declare } from '../pareto/measures.mjs';
import { nameOf } from '../pareto/names.mjs';

// The UI's own switches for its fonts and icons: nothing from a CDN. The icons are in icons.css.
window.FabricConfig = { fontBaseUrl: '', iconBaseUrl: 'autoprune/none/' };

const columns = () => [
    'sequenceId', 'id', 'status', 'message', `metric/${METRIC}`, 'metric/params', 'metric/macs', 'metric/latency_ms',
    'metric/above_l1_filter', 'metric/above_lottery_ticket',
];
const YEAR_MS = 365 * 24 * 3600 * 1000;

// What the UI itself writes when a person picks columns in its dialog; a choice that is there stays.
function chooseColumns(experiment) {
    const key = `${experiment}_columns`;
    if (localStorage.getItem(key) === null) {
        const choice = { value: JSON.stringify(columns()), time: Date.now(), expire: YEAR_MS, isSelectall: false };
        localStorage.setItem(key, JSON.stringify(choice));
    }
}

// The UI's default metric is `default`. Here that is the measure that judges, and the tuner's one number is called `score`.
// Only what the page is shown changes, and of a number no more than four decimals are shown.
function metricFirst(data) {
    const metrics = JSON.parse(JSON.parse(data));
    if (metrics === null || typeof metrics !== 'object' || metrics[METRIC] === undefined) {
        return data;
    }
    for (const [name, value] of Object.entries(metrics)) {
        metrics[name] = typeof value === 'number' ? Number(value.toFixed(4)) : value;
    }
    const { default: score, [METRIC]: value, ...others } = metrics;
    return JSON.stringify(JSON.stringify({ default: value, [METRIC]: value, ...others, score }));
}

// The UI shows a trial's message where there is one, which NNI's local training service never sets.
function nameTrial(job) {
    const parameters = JSON.parse(job.hyperParameters?.at(-1) ?? '{}').parameters;
    const metrics = JSON.parse(JSON.parse(job.finalMetricData?.at(-1).data ?? '"null"'));
    if (parameters) {
        const measures = typeof metrics?.macs === 'number' ? metrics : null;
        names.set(job.trialJobId, nameOf(parameters, measures, dense));
        job.message = [names.get(job.trialJobId), job.message].filter(Boolean).join('; ');
    }
}

function adapt(answer) {
    for (const entry of Array.isArray(answer) ? answer : []) {
        if (entry.hyperParameters) {
            nameTrial(entry);
        }
        for (const metric of entry.finalMetricData ?? (entry.type === 'FINAL' ? [entry] : [])) {
            metric.data = metricFirst(metric.data);
        }
    }
    return answer;
}

function adaptAnswers() {
    const { get } = Object.getOwnPropertyDescriptor(XMLHttpRequest.prototype, 'responseText');
    const adapted = new WeakMap();
    Object.defineProperty(XMLHttpRequest.prototype, 'responseText', {
        configurable: true,
        get() {
            const text = get.call(this);
            if (this.readyState !== 4 || !/\/api\/v1\/nni\/(trial-jobs|metric-data)/.test(this.responseURL)) {
                return text;
            }
            if (!adapted.has(this)) {
                let shown = text;
                try {
                    shown = JSON.stringify(adapt(JSON.parse(text)));
                } catch {
                    // not what we expect: the UI gets it as it is
                }
                adapted.set(this, shown);
            }
            return adapted.get(this);
        },
    });
}

// The overview's table has no column for a name: there it stands below the id (see webui.css).
function nameIds() {
    for (const id of document.querySelectorAll('#succTable .id')) {
        id.dataset.name = names.get(id.textContent) ?? '';
    }
}

function linkToFront() {
    const link = document.createElement('a');
    Object.assign(link, { href: 'pareto/', textContent: 'Pareto front', id: 'autoprune-front' });
    document.body.append(link);
}

// Synchronous, so that it is done before the UI's own scripts start.
function ask(path) {
    const request = new XMLHttpRequest();
    request.open('GET', `api/v1/${path}`, false);
    request.send();
    return request.status === 200 ? JSON.parse(request.responseText) : {};
}

// The dense model's measures are known once a trial has ended.
async function learnDense() {
    const answer = await fetch('api/v1/autoprune/facts');
    dense = answer.ok ? (await answer.json()).dense : null;
    if (!dense) {
        setTimeout(learnDense, 5000);
    }
}

let dense = null;
const names = new Map(); // by trial
const experiment = ask('nni/experiment');
if (/\bautoprune["']?\s+trial\b/.test(experiment.params?.trialCommand ?? '')) {
    declare(ask('autoprune/measures'));
    chooseColumns(experiment.id);
    dense = ask('autoprune/facts').dense ?? null;
    if (!dense) {
        setTimeout(learnDense, 5000);
    }
    adaptAnswers();
    addEventListener('DOMContentLoaded', linkToFront);
    new MutationObserver(nameIds).observe(document, { subtree: true, childList: true, characterData: true });
}
