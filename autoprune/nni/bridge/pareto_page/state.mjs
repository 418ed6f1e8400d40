// What the page shows, as autoprune/nni/page_data.py says it, with trials and measures to be found by name.

// answer: all, or what is new since `before`, an earlier result. Wherever it names trials by id, the result has the trials
// themselves.
export function readPage(answer, before = null) {
    const isPart = answer.whole === false;
    if (!answer.trials) { // nothing is new
        return { ...before, version: answer.version, doing: answer.doing };
    }
    const told = { ...(isPart ? before.told : {}), ...answer };
    const byId = isPart ? before.byId : new Map();
    answer.trials.forEach(trial => byId.set(trial.id, trial));
    const trials = [...byId.values()];
    const listed = ids => ids.map(id => byId.get(id));
    const listedAll = named => Object.fromEntries(Object.entries(named).map(([name, ids]) => [name, listed(ids)]));
    return {
        ...told, told, byId, trials: trials.sort((a, b) => a.number - b.number),
        declared: new Map(told.measures.map(each => [each.name, each])),
        candidates: trials.filter(trial => trial.measures && !trial.baseline), front: listed(told.front),
        fronts: listedAll(told.fronts), baselines: listedAll(told.baselines),
    };
}
