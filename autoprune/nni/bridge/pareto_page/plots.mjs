// The page's figures, drawn by plotly.js, which the page loads before this module.

const BASELINE_COLORS = ['#d98200', '#00856a', '#9a6fd0', '#8a6d3b'];
const BUTTONS = [['zoom2d', 'pan2d', 'resetScale2d', 'toImage']]; // none that would send data elsewhere
const CONFIG = { displaylogo: false, responsive: true, modeBarButtons: BUTTONS };
export const PLAIN = { ...CONFIG, displayModeBar: false };

// Text of the data's goes into plotly's labels, which read some HTML.
function plain(text) {
    return String(text).replace(/[<>&]/g, c => ({ '<': '&lt;', '>': '&gt;', '&': '&amp;' })[c]);
}

export function theme() {
    const style = getComputedStyle(document.documentElement);
    return Object.fromEntries(['ink', 'soft', 'line', 'accent', 'error', 'paper'].map(
        name => [name, style.getPropertyValue(`--${name}`).trim()]));
}

export function layout(colors, changes) {
    const axis = { gridcolor: colors.line, linecolor: colors.line, zeroline: false, automargin: true };
    return {
        paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
        font: { color: colors.ink, family: 'system-ui, sans-serif', size: 13 },
        margin: { l: 70, r: 20, t: 10, b: 50 }, hoverlabel: { align: 'left' },
        legend: { orientation: 'h', y: -0.22 },
        modebar: { bgcolor: 'rgba(0,0,0,0)', color: colors.soft, activecolor: colors.accent },
        ...changes,
        xaxis: { ...axis, ...changes.xaxis }, yaxis: { ...axis, ...changes.yaxis },
    };
}

// Hover text of a trial: its name and measures.
function hover(state, trial) {
    const lines = state.measures.map(({ noun }, i) => `${noun}: ${trial.texts[i]}`);
    const heading = [`<b>${plain(trial.name)}</b>`, trial.id && `trial ${plain(trial.id)}`].filter(Boolean);
    return [...heading, ...lines].join('<br>');
}

function points(state, trials, view, look) {
    return {
        x: trials.map(trial => trial.measures[view.x]), y: trials.map(trial => trial.measures[view.y]),
        text: trials.map(trial => hover(state, trial)), customdata: trials.map(trial => trial.id),
        hoverinfo: 'text', mode: 'markers', ...look,
    };
}

// view: { x, y, xlog, ylog, others, chosen } of the controls; pick is called with the id of a clicked trial.
export function drawFront(element, state, view, pick) {
    const colors = theme();
    const sorted = trials => [...trials].sort((a, b) => a.measures[view.x] - b.measures[view.x]);
    const front = sorted(state.fronts[`${view.x} ${view.y}`] ?? state.fronts[`${view.y} ${view.x}`]);
    const traces = [];
    if (view.others) {
        traces.push(points(state, state.candidates, view, { name: 'candidates', marker: { color: colors.soft, opacity: 0.45 } }));
    }
    Object.entries(state.baselines).forEach(([name, trials], i) => {
        const color = BASELINE_COLORS[i % BASELINE_COLORS.length];
        const look = { mode: 'lines+markers', line: { color, dash: 'dot', width: 1.5 }, marker: { color, symbol: 'diamond' } };
        traces.push(points(state, sorted(trials), view, { name: `baseline ${plain(name)}`, ...look }));
    });
    const line = { mode: 'lines+markers', line: { color: colors.accent, width: 2 }, marker: { size: 9 } };
    traces.push(points(state, front, view, { name: 'Pareto front', ...line }));
    if (state.dense) {
        const dense = { id: '', name: 'dense model', ...state.dense };
        const star = { symbol: 'star', size: 16, color: colors.ink };
        traces.push(points(state, [dense], view, { name: 'dense model', marker: star }));
    }
    const chosen = state.trials.filter(trial => trial.id === view.chosen && trial.measures);
    const ring = { symbol: 'circle-open', size: 21, color: colors.error, line: { width: 3 } };
    traces.push(points(state, chosen, view, { name: 'selected', marker: ring, hoverinfo: 'skip', showlegend: chosen.length > 0 }));
    const axis = (name, log) => ({
        title: { text: state.declared.get(name).noun + (log ? ' (log scale)' : '') }, type: log ? 'log' : 'linear',
        tickformat: state.declared.get(name).ticks, ...(log ? { dtick: 'D2' } : {}),
    });
    const look = layout(colors, {
        xaxis: axis(view.x, view.xlog), yaxis: axis(view.y, view.ylog),
        uirevision: [view.x, view.y, view.xlog, view.ylog].join(), // a zoom survives new points
    });
    Plotly.react(element, traces, look, CONFIG).then(() => {
        element.removeAllListeners('plotly_click');
        element.on('plotly_click', event => event.points[0].customdata && pick(event.points[0].customdata));
    });
}

export function drawVolume(element, state) {
    const colors = theme();
    const { size, minutes, values } = state.volume;
    const trace = {
        x: minutes, y: values, mode: 'lines+markers', line: { shape: 'hv', color: colors.accent }, marker: { size: 5 },
        hovertemplate: 'after %{x:.1f} min: %{y:.4f}<extra></extra>',
    };
    const look = layout(colors, {
        xaxis: { title: { text: 'minutes since the start' }, rangemode: 'tozero' },
        yaxis: { title: { text: `of ${state.declared.get(state.metric).noun} and ${state.declared.get(size).noun}` } },
    });
    Plotly.react(element, [trace], look, PLAIN);
}

export function drawKept(element, state, pick) {
    const colors = theme();
    const front = state.front.filter(trial => state.kept[trial.id]);
    const few = state.groups.length <= 16;
    const metric = state.measures.findIndex(each => each.name === state.metric);
    const trace = {
        type: 'heatmap', zmin: 0, zmax: 1, xgap: 2, ygap: 2, showscale: !few,
        x: state.groups.map(plain), y: front.map(trial => `${plain(trial.id)}  ${trial.texts[metric]}`),
        z: front.map(trial => state.kept[trial.id]), text: front.map(trial => trial.kept.map(plain)),
        texttemplate: few ? '%{text}' : '', textfont: { color: '#1f2933' },
        colorscale: [[0, '#f7fafd'], [1, '#5b9bdd']], colorbar: { tickformat: '.0%', thickness: 12 },
        hovertemplate: 'trial %{y}<br>group %{x}<br>kept %{z:.0%} (%{text})<extra></extra>',
    };
    const look = layout(colors, {
        xaxis: { type: 'category', showgrid: false, title: { text: "coupled group, in the network's order" } },
        yaxis: { type: 'category', showgrid: false, autorange: 'reversed' },
        height: 110 + 28 * Math.max(2, front.length), margin: { l: 120, r: 20, t: 10, b: 60 },
    });
    element.style.height = `${look.height}px`;
    Plotly.react(element, [trace], look, PLAIN).then(() => {
        element.removeAllListeners('plotly_click');
        element.on('plotly_click', event => pick(front[event.points[0].pointIndex[0]].id));
    });
}
