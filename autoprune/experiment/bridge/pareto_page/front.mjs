// The mathematics of the Pareto page: fronts, hypervolume, and choosing, by the same words and to the same result as
// autoprune/search/pareto.py and autoprune/report/progress.py (tests/experiment/test_page_front.py compares them).

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

const SCALE = { k: 1e3, K: 1e3, M: 1e6, G: 1e9 };

// Picks one of a front by a rule: drop<=1%, MEASURE<=NUMBER, knee, or a trial's id (of any of `all`).
export function choose(rule, front, all, dense, objectives) {
    const named = all.find(trial => trial.id === rule.trim());
    if (named) {
        return named;
    }
    if (front.length === 0) {
        throw new Error('no trial has succeeded yet: there is nothing to choose from');
    }
    const size = objectives.find(name => name !== 'accuracy') ?? 'params';
    const bound = /^\s*(\w+)\s*<=?\s*([\d.eE+]+)\s*([kKMG]|ms|%)?\s*$/.exec(rule);
    if (rule.trim() === 'knee') {
        return knee(front, size);
    }
    let fit;
    if (bound?.[1] === 'drop') {
        const drop = Number(bound[2]) / (bound[3] === '%' ? 100 : 1);
        fit = front.filter(trial => dense.accuracy - trial.measures.accuracy <= drop + 1e-9);
        fit.sort((a, b) => a.measures[size] - b.measures[size] || b.measures.accuracy - a.measures.accuracy);
    } else if (bound && MEASURES.includes(bound[1]) && bound[1] !== 'accuracy') {
        const limit = Number(bound[2]) * (SCALE[bound[3]] ?? 1);
        fit = front.filter(trial => trial.measures[bound[1]] <= limit);
        fit.sort((a, b) => b.measures.accuracy - a.measures.accuracy || a.measures[size] - b.measures[size]);
    } else {
        const rules = "drop<=1%, knee, macs<=20M (or params, bytes, latency_ms), or a trial's id";
        throw new Error(`cannot choose by '${rule}': use ${rules}`);
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
