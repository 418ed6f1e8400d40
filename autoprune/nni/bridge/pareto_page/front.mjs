// The mathematics of the Pareto page: fronts, hypervolume, and choosing, by the same words and to the same result as
// autoprune/results/pareto.py and autoprune/results/limits.py (tests/nni/test_page_front.py and
// tests/results/test_limits.py compare them).

export const MEASURES = ['accuracy', 'params', 'macs', 'bytes', 'latency_ms'];

export function cost(measures, name) {
    return name === 'accuracy' ? -measures[name] : measures[name];
}

// Returns the non-dominated of `trials` (each with `measures`), the best in the first objective first; of equals, the
// first one stands for all.
export function paretoFront(trials, objectives) {
    const points = trials.map(trial => objectives.map(name => cost(trial.measures, name)));
    const seen = new Set();
    const front = [];
    points.forEach((point, i) => {
        const beaten = points.some(other => other.some((c, k) => c !== point[k]) && other.every((c, k) => c <= point[k]));
        const key = point.join();
        if (!beaten && !seen.has(key)) {
            seen.add(key);
            front.push({ point, trial: trials[i] });
        }
    });
    const order = (a, b) => a.point.map((c, k) => c - b.point[k]).find(difference => difference !== 0) ?? 0;
    return front.sort(order).map(each => each.trial);
}

// Returns the area that [cost, gain] points dominate, over the reference point (1, 0).
export function hypervolume(points) {
    let area = 0;
    let best = 0;
    for (const [size, gain] of [...points].sort((a, b) => a[0] - b[0] || a[1] - b[1])) {
        if (size < 1 && gain > best) {
            area += (1 - size) * (gain - best);
            best = gain;
        }
    }
    return area;
}

const SCALE = { '': 1, k: 1e3, K: 1e3, M: 1e6, G: 1e9 };
const FRACTION = { '': 1, '%': 0.01 };
const UNITS = {
    drop: ['<', FRACTION],
    accuracy: ['>', FRACTION],
    params: ['<', SCALE],
    macs: ['<', SCALE],
    bytes: ['<', SCALE],
    latency_ms: ['<', { '': 1, ms: 1 }],
};
const EXAMPLES = 'drop<=1%, accuracy>=0.98, macs<=20M (or params, bytes, latency_ms)';
const FORM = /^\s*(\w+)\s*([<>])=?\s*(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)\s*(%|[a-zA-Z]+)?\s*$/;
const TOLERANCE = 1e-9; // 0.99 - 0.98 is a little more than 0.01

// Reads MEASURE<=NUMBER[UNIT] (accuracy>=...), or returns null if that is not the form of the words.
export function readLimit(words) {
    const match = FORM.exec(words);
    const measure = match?.[1] === 'latency' ? 'latency_ms' : match?.[1];
    const [side, units] = (match && Object.hasOwn(UNITS, measure) && UNITS[measure]) || ['', {}];
    if (!match || match[2] !== side || !Object.hasOwn(units, match[4] ?? '')) {
        return null;
    }
    const bound = Number(match[3]) * units[match[4] ?? ''];
    if (units === FRACTION && bound > 1) {
        throw new Error(`${words.trim()}: more than 100 %: write ${measure}${side}=${match[3]}%`);
    }
    if (bound === 0 && measure !== 'drop') {
        throw new Error(`${words.trim()}: must be more than 0`);
    }
    return { measure, bound };
}

export function satisfies({ measure, bound }, measures, dense) {
    if (measure === 'drop') {
        return dense.accuracy - measures.accuracy - bound - TOLERANCE <= 0;
    }
    return measure === 'accuracy' ? bound - measures.accuracy - TOLERANCE <= 0 : measures[measure] <= bound;
}

// Returns the trials that keep within all of a search's constraints; none where a drop is limited and dense not known.
export function within(trials, constraints, dense) {
    const limits = constraints.map(readLimit).filter(Boolean);
    if (!dense && limits.some(limit => limit.measure === 'drop')) {
        return [];
    }
    return trials.filter(trial => limits.every(limit => satisfies(limit, trial.measures, dense)));
}

// The front as it is after its networks were fine-tuned to the end: with their mean validation accuracies. As it was
// before, where not all of them were (of more than twelve, twelve).
export function recoveredFront(front, recovered, constraints, dense) {
    const known = front.filter(trial => recovered[trial.id]);
    const content = ({ parameters }) => JSON.stringify(Object.entries({ ...parameters, budget: undefined }).sort());
    if (known.length === 0 || known.length < Math.min(new Set(front.map(content)).size, 12)) {
        return front;
    }
    const networks = known.map(trial => {
        const { validation } = recovered[trial.id];
        const accuracy = validation.reduce((sum, value) => sum + value, 0) / validation.length;
        return { ...trial, measures: { ...trial.measures, accuracy } };
    });
    return within(networks, constraints, dense);
}

// Picks one of a front by a rule: a limit, knee, or a trial's id (of any of `all`).
export function choose(rule, front, all, dense, objectives) {
    const named = all.find(trial => trial.id === rule.trim());
    if (named) {
        return named;
    }
    if (front.length === 0) {
        throw new Error('no trial has succeeded yet: there is nothing to choose from');
    }
    const size = objectives.find(name => name !== 'accuracy') ?? 'params';
    if (rule.trim() === 'knee') {
        return knee(front, size);
    }
    const limit = readLimit(rule);
    if (!limit) {
        throw new Error(`cannot choose by '${rule}': use ${EXAMPLES}, knee, or a trial's id`);
    }
    const fit = front.filter(trial => satisfies(limit, trial.measures, dense));
    if (['drop', 'accuracy'].includes(limit.measure)) {
        fit.sort((a, b) => a.measures[size] - b.measures[size] || b.measures.accuracy - a.measures.accuracy);
    } else {
        fit.sort((a, b) => b.measures.accuracy - a.measures.accuracy || a.measures[size] - b.measures[size]);
    }
    if (fit.length === 0) {
        throw new Error(`no trial satisfies ${rule}: loosen it, or search longer`);
    }
    return fit[0];
}

function knee(front, size) {
    const xs = front.map(trial => Math.log(trial.measures[size]));
    const ys = front.map(trial => trial.measures.accuracy);
    const [x0, x1] = [Math.min(...xs), Math.max(...xs)];
    const [y0, y1] = [Math.min(...ys), Math.max(...ys)];
    const flat = x0 === x1 || y0 === y1;
    const value = i => (flat ? ys[i] : (ys[i] - y0) / (y1 - y0) - (xs[i] - x0) / (x1 - x0));
    let best = 0;
    front.forEach((_, i) => {
        if (value(i) > value(best) || (flat && value(i) === value(best) && xs[i] < xs[best])) {
            best = i;
        }
    });
    return front[best];
}
