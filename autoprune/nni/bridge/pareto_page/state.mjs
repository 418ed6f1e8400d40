// What the page shows, as autoprune/nni/page_data.py says it, with trials and measures to be found by name.

// page: the answer. Wherever that names trials by id, the result has the trials themselves.
export function readPage(page) {
    const byId = new Map(page.trials.map(trial => [trial.id, trial]));
    const listed = ids => ids.map(id => byId.get(id));
    const listedAll = named => Object.fromEntries(Object.entries(named).map(([name, ids]) => [name, listed(ids)]));
    return {
        ...page, byId, declared: new Map(page.measures.map(each => [each.name, each])),
        candidates: listed(page.candidates), front: listed(page.front),
        fronts: listedAll(page.fronts), baselines: listedAll(page.baselines),
    };
}
