// What the page shows, as autoprune/nni/page_data.py says it, with trials and measures to be found by name.

// answer: all, or what is new since `before`, an earlier result. Wherever it names trials by id, the result has the trials
// themselves.
export function readPage(answer, before = null) {
    if (!answer.trials) { // nothing is new
        return { ...before, version: answer.version, doing: answer.doing };
    }
    const byId = new Map(answer.whole === false ? before.byId : []);
    answer.trials.forEach(trial => byId.set(trial.id, trial));
    const listed = ids => ids.map(id => byId.get(id));
    const listedAll = named => Object.fromEntries(Object.entries(named).map(([name, ids]) => [name, listed(ids)]));
    return {
        ...answer, byId, trials: [...byId.values()].sort((a, b) => a.number - b.number),
        declared: new Map(answer.measures.map(each => [each.name, each])),
        candidates: listed(answer.candidates), front: listed(answer.front),
        fronts: listedAll(answer.fronts), baselines: listedAll(answer.baselines),
    };
}
