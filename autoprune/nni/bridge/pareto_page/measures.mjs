// What is measured, as autoprune/results/measures.py declares it. The manager hands the declarations on (see page.js);
// no other script knows a measure's direction, unit or name.

export let MEASURES = []; // names, the metric first
export let METRIC = ''; // the one that judges
export let OBJECTIVES = []; // where a search names none
export let EXAMPLES = ''; // of limits
let declared = new Map();

export function declare({ metric, measures, objectives, examples }) {
    declared = new Map(measures.map(each => [each.name, each]));
    [MEASURES, METRIC, OBJECTIVES, EXAMPLES] = [[...declared.keys()], metric, objectives, examples];
}

// The declaration of a measure, by its name or an alias.
export function declarationOf(name) {
    return declared.get(name) ?? [...declared.values()].find(each => each.aliases.includes(name));
}

export function cost(measures, name) {
    return declared.get(name).direction === 'maximize' ? -measures[name] : measures[name];
}

// How much worse the metric is than the dense model's: a difference of fractions, a share of other numbers.
export function drop(measures, dense) {
    const difference = cost(measures, METRIC) - cost(dense, METRIC);
    return isShare(METRIC) || difference === 0 ? difference : difference / Math.abs(dense[METRIC]);
}

// How good the metric is, for a hypervolume; see Measure.gain.
export function gain(measures, dense) {
    const rises = declared.get(METRIC).direction === 'maximize';
    const [value, reference] = [measures[METRIC], dense[METRIC]];
    if (isShare(METRIC)) {
        return rises ? value : 1 - value;
    }
    const [above, below] = rises ? [value, reference] : [reference, value];
    return below ? above / below : 0;
}

export function isShare(name) {
    return declared.get(name).form === 'percent';
}

// Numbers as people read them, as autoprune/results/units.py writes them.
const FORMS = {
    percent: value => `${(100 * value).toFixed(2)} %`,
    count: value => scaled(value, ['', 'k', 'M', 'G', 'T']),
    bytes: value => scaled(value, ['B', 'kB', 'MB', 'GB', 'TB']),
    milliseconds: value => `${value < 0.0995 ? value.toFixed(3) : value < 1 ? value.toFixed(2) : three(value)} ms`,
    number: value => (Math.abs(value) >= 9999.5 ? value.toFixed(0) : String(Number(value.toPrecision(4)))),
};

export function write(name, value) {
    return value === null || value === undefined ? '-' : FORMS[declared.get(name).form](value);
}

// A difference of two values, with its sign; of fractions, in percentage points.
export function writeDifference(name, value) {
    const text = isShare(name) ? (100 * value).toFixed(2) : String(Number(value.toPrecision(3)));
    return Number(text) === 0 ? text.replace('-', '') : value > 0 ? `+${text}` : text;
}

function scaled(value, units) {
    let i = 0;
    for (; value >= 999.5 && i < units.length - 1; i += 1) {
        value /= 1000;
    }
    return `${i === 0 ? value.toFixed(0) : three(value)} ${units[i]}`.trim();
}

function three(value) {
    return value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0);
}
