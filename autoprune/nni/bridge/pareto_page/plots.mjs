// The page's figures, drawn by plotly.js, which the page loads before this module.

const OTHER_COLOR = '#c2478a'; // of another search
const BASELINE_COLORS = ['#d98200', '#00856a', '#9a6fd0', '#8a6d3b'];
const BUTTONS = [['zoom2d', 'pan2d', 'resetScale2d', 'toImage']]; // none that would send data elsewhere
const CONFIG = { displaylogo: false, responsive: true, modeBarButtons: BUTTONS };
export const PLAIN = { ...CONFIG, displayModeBar: false };

// Text of the data's goes into plotly's labels, which read some HTML.
function plain(text) {
    return String(text).replace(/[<>&]/g, c => ({ '<': '&lt;', '>': '&gt;', '&': '&amp;' })[c]);
}

const NARROW = 520; // pixels
const MOST_POINTS = 500; // of candidates that are all drawn: more take long to draw, and cover one another
const [COLUMNS, ROWS] = [25, 20]; // of the fields of which only one candidate is drawn where there are more
const isNarrow = element => element.clientWidth > 0 && element.clientWidth < NARROW;

const isOnPaper = () => document.documentElement?.classList.contains('paper') ?? false;

const themes = new Map(); // asking for the styles takes long where much has been drawn

export function theme() {
    const key = `${globalThis.matchMedia?.('(prefers-color-scheme: dark)').matches} ${isOnPaper()}`;
    if (!themes.has(key)) {
        const style = getComputedStyle(document.documentElement);
        themes.set(key, Object.fromEntries(['ink', 'soft', 'line', 'accent', 'error', 'paper'].map(
            name => [name, style.getPropertyValue(`--${name}`).trim()])));
    }
    return themes.get(key);
}

// Below the axis' title there is room for a legend of as many lines as its names need.
export function layout(element, colors, changes, names = []) {
    const narrow = isNarrow(element);
    const size = narrow ? 11 : 13;
    const axis = { gridcolor: colors.line, linecolor: colors.line, zeroline: false, automargin: true, nticks: narrow ? 6 : 0 };
    const entries = Math.max(1, Math.floor((element.clientWidth || 900) / (Math.max(0, ...names.map(name => name.length)) * size * 0.55 + 50)));
    const lines = Math.ceil(names.length / entries);
    return {
        width: isOnPaper() ? element.clientWidth : undefined, // else the element's, whatever becomes of it
        paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
        font: { color: colors.ink, family: 'system-ui, sans-serif', size },
        margin: { l: narrow ? 45 : 70, r: narrow ? 8 : 20, t: 10, b: 50 + lines * (size + 8) }, hoverlabel: { align: 'left' },
        legend: { orientation: 'h', yref: 'container', y: 0, yanchor: 'bottom', x: 0, xanchor: 'left' },
        modebar: { bgcolor: 'rgba(0,0,0,0)', color: colors.soft, activecolor: colors.accent },
        ...changes,
        xaxis: { ...axis, ...changes.xaxis }, yaxis: { ...axis, ...changes.yaxis },
    };
}

const hovers = new WeakMap();

// Hover text of a trial: its name and measures.
function hover(state, trial) {
    if (!hovers.has(trial)) {
        const lines = state.measures.map(({ noun }, i) => `${noun}: ${trial.texts[i]}`);
        const heading = [`<b>${plain(trial.name)}</b>`, trial.id && `trial ${plain(trial.id)}`].filter(Boolean);
        hovers.set(trial, [...heading, ...lines].join('<br>'));
    }
    return hovers.get(trial);
}

// Of many candidates the first in each field of the plot: so a new one changes little.
function thinned(trials, view) {
    if (trials.length <= MOST_POINTS) {
        return trials;
    }
    const [columns, rows] = [fields(trials, view.x, view.xlog, COLUMNS), fields(trials, view.y, view.ylog, ROWS)];
    const first = new Map();
    trials.forEach(trial => {
        const field = columns(trial) * ROWS + rows(trial);
        first.has(field) || first.set(field, trial);
    });
    return [...first.values()];
}

// Returns a function from a trial to its field, of `count` between the least and the greatest value of a measure.
function fields(trials, name, isLog, count) {
    const value = trial => (isLog ? Math.log(trial.measures[name]) : trial.measures[name]);
    const [least, most] = trials.map(value).filter(Number.isFinite).reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
    return trial => Math.max(0, Math.min(count - 1, Math.floor(count * (value(trial) - least) / (most - least || 1))));
}

const shown = new WeakMap(); // by plot: what it shows, and how

// Whether that is not what a plot shows; then it is from now on.
function isNews(element, now) {
    const before = shown.get(element);
    shown.set(element, now);
    return before?.length !== now.length || now.some((each, i) => each !== before[i]);
}

function points(state, trials, view, look) {
    return {
        x: trials.map(trial => trial.measures[view.x]), y: trials.map(trial => trial.measures[view.y]),
        text: trials.map(trial => hover(state, trial)), customdata: trials.map(trial => trial.id),
        hoverinfo: 'text', mode: 'markers', ...look,
    };
}

const frontOf = ({ fronts }, { x, y }) => fronts[`${x} ${y}`] ?? fronts[`${y} ${x}`];

// view: { x, y, xlog, ylog, others, chosen } of the controls, and other, a search beside this one, or null; pick is called with the id of a clicked trial. Returns the line
// in words.
export function drawFront(element, state, view, pick) {
    const colors = theme();
    const sorted = trials => [...trials].sort((a, b) => a.measures[view.x] - b.measures[view.x]);
    const front = sorted(frontOf(state, view));
    const chosen = state.trials.filter(trial => trial.id === view.chosen && trial.measures);
    const others = view.others ? thinned(state.candidates, view) : [];
    const words = inWords(state, front, view, others);
    const { other, ...controls } = view;
    const looks = [JSON.stringify(controls), other, colors, element.clientWidth];
    if (!isNews(element, [...looks, state.dense, ...front, ...others, ...chosen, ...Object.values(state.baselines).flat()])) {
        return words;
    }
    const traces = [];
    if (view.others) {
        traces.push(points(state, others, view, { name: 'candidates', marker: { color: colors.soft, opacity: 0.45 } }));
    }
    Object.entries(state.baselines).forEach(([name, trials], i) => {
        const color = BASELINE_COLORS[i % BASELINE_COLORS.length];
        const look = { mode: 'lines+markers', line: { color, dash: 'dot', width: 1.5 }, marker: { color, symbol: 'diamond' } };
        traces.push(points(state, sorted(trials), view, { name: `baseline ${plain(name)}`, ...look }));
    });
    const line = { mode: 'lines+markers', line: { color: colors.accent, width: 2 }, marker: { size: 9 } };
    traces.push(points(state, front, view, { name: 'Pareto front', ...line }));
    const otherFront = other && frontOf(other, view);
    if (otherFront) {
        const look = { mode: 'lines+markers', line: { color: OTHER_COLOR, width: 2, dash: 'dash' }, marker: { size: 8, symbol: 'square', color: OTHER_COLOR } };
        traces.push({ ...points(state, sorted(otherFront), view, { name: `front of ${plain(other.name)} (${plain(other.id)})`, ...look }), customdata: otherFront.map(() => null) });
    }
    if (state.dense) {
        const dense = { id: '', name: 'dense model', ...state.dense };
        const star = { symbol: 'star', size: 16, color: colors.ink };
        traces.push(points(state, [dense], view, { name: 'dense model', marker: star }));
    }
    const ring = { symbol: 'circle-open', size: 21, color: colors.error, line: { width: 3 } };
    traces.push(points(state, chosen, view, { name: 'selected', marker: ring, hoverinfo: 'skip', showlegend: chosen.length > 0 }));
    const decades = side => {
        const values = traces.flatMap(trace => trace[side]).filter(value => value > 0);
        return Math.log10(Math.max(...values) / Math.min(...values));
    };
    const axis = (side, name, log) => ({
        title: { text: state.declared.get(name).noun + (log ? ' (log scale)' : '') }, type: log ? 'log' : 'linear',
        tickformat: state.declared.get(name).ticks, ...(log ? { dtick: isNarrow(element) && decades(side) > 1.8 ? 1 : 'D2' } : {}),
    });
    const look = layout(element, colors, {
        xaxis: axis('x', view.x, view.xlog), yaxis: axis('y', view.y, view.ylog),
        uirevision: [view.x, view.y, view.xlog, view.ylog].join(), // a zoom survives new points
    }, traces.filter(trace => trace.showlegend !== false).map(trace => trace.name));
    Plotly.react(element, traces, look, CONFIG).then(() => {
        element.removeAllListeners('plotly_click');
        element.on('plotly_click', event => event.points[0].customdata && pick(event.points[0].customdata));
    });
    return words;
}

// What the line says, for those who do not see it.
function inWords(state, front, { x, y }, others) {
    const isPart = others.length > 0 && others.length < state.candidates.length;
    const few = isPart ? ` Of ${state.candidates.length} candidates, ${others.length} are drawn: one where many are close.` : '';
    const at = name => state.measures.findIndex(each => each.name === name);
    const say = trial => `${state.declared.get(y).noun} ${trial.texts[at(y)]} at ${state.declared.get(x).noun} ${trial.texts[at(x)]}`;
    if (front.length < 2) {
        return front.length ? `One trial: ${say(front[0])}.` : 'It has no trial yet.';
    }
    return `${front.length} trials, from ${say(front[0])} to ${say(front.at(-1))}.${few}`;
}

// Saves what a plot shows, on paper's or the screen's colour.
export function savePicture(element, filename) {
    const look = { ...element.layout, paper_bgcolor: theme().paper };
    const { clientWidth: width, clientHeight: height } = element;
    return Plotly.downloadImage({ data: element.data, layout: look }, { format: 'png', scale: 2, width, height, filename });
}

export function drawVolume(element, state) {
    const colors = theme();
    const { size, minutes, values } = state.volume;
    const trace = {
        x: minutes, y: values, mode: 'lines+markers', line: { shape: 'hv', color: colors.accent }, marker: { size: 5 },
        hovertemplate: 'after %{x:.1f} min: %{y:.4f}<extra></extra>',
    };
    const look = layout(element, colors, {
        xaxis: { title: { text: 'minutes since the start' }, rangemode: 'tozero' },
        yaxis: { title: { text: `of ${state.declared.get(state.metric).noun} and ${state.declared.get(size).noun}` } },
    });
    Plotly.react(element, [trace], look, PLAIN);
}

export const keptHeight = ({ front, kept }) => 110 + 28 * Math.max(2, front.filter(trial => kept[trial.id]).length); // pixels

export function drawKept(element, state, pick) {
    const colors = theme();
    const front = state.front.filter(trial => state.kept[trial.id]);
    const few = state.groups.length <= 16 && (element.clientWidth || 900) / state.groups.length > 55;
    const metric = state.measures.findIndex(each => each.name === state.metric);
    const trace = {
        type: 'heatmap', zmin: 0, zmax: 1, xgap: few ? 2 : 0, ygap: few ? 2 : 0, showscale: !few,
        x: state.groups.map(plain), y: front.map(trial => `${plain(trial.id)}${isNarrow(element) ? '<br>' : '  '}${trial.texts[metric]}`),
        z: front.map(trial => state.kept[trial.id]), text: front.map(trial => trial.kept.map(plain)),
        texttemplate: few ? '%{text}' : '', textfont: { color: '#1f2933' },
        colorscale: [[0, '#f7fafd'], [1, '#5b9bdd']], colorbar: { tickformat: '.0%', thickness: 12 },
        hovertemplate: 'trial %{y}<br>group %{x}<br>kept %{z:.0%} (%{text})<extra></extra>',
    };
    const look = layout(element, colors, {
        xaxis: { type: 'category', showgrid: false, title: { text: "coupled group, in the network's order" } },
        yaxis: { type: 'category', showgrid: false, autorange: 'reversed' },
        height: keptHeight(state), margin: { l: isNarrow(element) ? 60 : 120, r: 8, t: 10, b: 60 },
    });
    Plotly.react(element, [trace], look, PLAIN).then(() => {
        element.removeAllListeners('plotly_click');
        element.on('plotly_click', event => pick(front[event.points[0].pointIndex[0]].id));
    });
}
