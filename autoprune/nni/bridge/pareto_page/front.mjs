// The mathematics of the Pareto page: fronts, hypervolume, and choosing, by the same words and to the same result as
// autoprune/results/pareto.py and autoprune/results/limits.py (tests/nni/test_page_front.py and
// tests/results/test_limits.py compare them).

import { EXAMPLES, METRIC, cost, declarationOf, drop, isShare } from './measures.mjs';

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

const FRACTION = { '': 1, '%': 0.01 }; // what a drop is written in
const FORM = /^\s*(\w+)\s*([<>])=?\s*(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)\s*(%|[a-zA-Z]+)?\s*$/;
const TOLERANCE = 1e-9; // 0.99 - 0.98 is a little more than 0.01

// Reads MEASURE<=NUMBER[UNIT] (accuracy>=...), or returns null if that is not the form of the words.
export function readLimit(words) {
    const match = FORM.exec(words);
    const found = match && declarationOf(match[1]);
    if (!match || (!found && match[1] !== 'drop')) {
        return null;
    }
    const { name: measure, side, suffixes } = found ?? { name: 'drop', side: '<', suffixes: FRACTION };
    if (match[2] !== side || !Object.hasOwn(suffixes, match[4] ?? '')) {
        return null;
    }
    const bound = Number(match[3]) * suffixes[match[4] ?? ''];
    if ((!found || isShare(measure)) && bound > 1) {
        throw new Error(`${words.trim()}: more than 100 %: write ${measure}${side}=${match[3]}%`);
    }
    if (bound === 0 && measure !== 'drop') {
        throw new Error(`${words.trim()}: must be more than 0`);
    }
    return { measure, bound };
}

export function satisfies({ measure, bound }, measures, dense) {
    if (measure === 'drop') {
        return drop(measures, dense) - bound - TOLERANCE <= 0;
    }
    return cost(measures, measure) - cost({ [measure]: bound }, measure) <= (isShare(measure) ? TOLERANCE : 0);
}

// Returns the trials that keep within all of a search's constraints; none where a drop is limited and dense not known.
export function within(trials, constraints, dense) {
    const limits = constraints.map(readLimit).filter(Boolean);
    if (!dense && limits.some(limit => limit.measure === 'drop')) {
        return [];
    }
    return trials.filter(trial => limits.every(limit => satisfies(limit, trial.measures, dense)));
}

// The front as it is after its networks were fine-tuned to the end: with their mean results on validation data. As it was
// before, where not all of them were (of more than twelve, twelve).
export function recoveredFront(front, recovered, constraints, dense) {
    const known = front.filter(trial => recovered[trial.id]);
    const content = ({ parameters }) => JSON.stringify(Object.entries({ ...parameters, budget: undefined }).sort());
    if (known.length === 0 || known.length < Math.min(new Set(front.map(content)).size, 12)) {
        return front;
    }
    const networks = known.map(trial => {
        const { validation } = recovered[trial.id];
        const mean = validation.reduce((sum, value) => sum + value, 0) / validation.length;
        return { ...trial, measures: { ...trial.measures, [METRIC]: mean } };
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
    const size = objectives.find(name => name !== METRIC) ?? 'params';
    if (rule.trim() === 'knee') {
        return knee(front, size);
    }
    const limit = readLimit(rule);
    if (!limit) {
        throw new Error(`cannot choose by '${rule}': use ${EXAMPLES}, knee, or a trial's id`);
    }
    const fit = front.filter(trial => satisfies(limit, trial.measures, dense));
    const first = ['drop', METRIC].includes(limit.measure) ? [size, METRIC] : [METRIC, size];
    const order = first.map(name => (a, b) => cost(a.measures, name) - cost(b.measures, name));
    fit.sort((a, b) => order[0](a, b) || order[1](a, b));
    if (fit.length === 0) {
        throw new Error(`no trial satisfies ${rule}: loosen it, or search longer`);
    }
    return fit[0];
}

function knee(front, size) {
    const xs = front.map(trial => Math.log(trial.measures[size]));
    const ys = front.map(trial => -cost(trial.measures, METRIC));
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
