// Runs in NNI's web UI before its own scripts: shows what a pruning user needs, by means that the UI has itself.
// (They are deferred, as modules are, and come later on the page.)

// The UI's own switches for its fonts and icons: nothing from a CDN. The icons are in icons.css.
window.FabricConfig = { fontBaseUrl: '', iconBaseUrl: 'autoprune/none/' };

const columns = () => [
    'sequenceId', 'id', 'status', 'message', `metric/${metric}`, 'metric/params', 'metric/macs', 'metric/latency_ms',
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
    if (metrics === null || typeof metrics !== 'object' || metrics[metric] === undefined) {
        return data;
    }
    for (const [name, value] of Object.entries(metrics)) {
        metrics[name] = typeof value === 'number' ? Number(value.toFixed(4)) : value;
    }
    const { default: score, [metric]: value, ...others } = metrics;
    return JSON.stringify(JSON.stringify({ default: value, [metric]: value, ...others, score }));
}

// The UI shows a trial's message where there is one, which NNI's local training service never sets.
function nameTrial(job) {
    job.message = [names[job.trialJobId], job.message].filter(Boolean).join('; ');
}

function adapt(answer) {
    learn(); // what is new among them is called by its name from the next answer on
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
        id.dataset.name = names[id.textContent] ?? '';
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

async function learn() {
    const answer = await fetch('api/v1/autoprune/names').catch(() => null);
    if (answer?.ok) {
        ({ metric, names } = await answer.json());
    }
}

const experiment = ask('nni/experiment');
let metric; // the one that judges
let names = {}; // of trials
if (/\bautoprune["']?\s+trial\b/.test(experiment.params?.trialCommand ?? '')) {
    ({ metric, names = {} } = ask('autoprune/names'));
    if (metric) {
        chooseColumns(experiment.id);
    }
    adaptAnswers();
    addEventListener('DOMContentLoaded', linkToFront);
    new MutationObserver(nameIds).observe(document, { subtree: true, childList: true, characterData: true });
}
