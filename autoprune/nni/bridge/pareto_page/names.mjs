// What a trial is called: in NNI's web UI and on the Pareto page, in the words of autoprune/report/rows.py, to which
// the share that is left is added (tests/nni/test_page_front.py compares them).

const percent = fraction => `${Math.round(100 * fraction)}%`;

// How a trial pruned: "l1_norm, supernet + fine-tuned".
export function methodOf({ baseline, criterion, schedule, allocation, sparsity, budget }) {
    if (baseline === 'dense') {
        return 'dense';
    }
    if (baseline) {
        return `${baseline} ${percent(sparsity ?? 0)}`;
    }
    const spread = allocation ? `${allocation} allocation` : '';
    return [criterion, spread, trained((schedule ?? '').replaceAll('_', ' '), budget)].filter(Boolean).join(', ');
}

function trained(schedule, budget) {
    if (schedule === 'supernet' || schedule === 'shared') { // its former name
        return budget ? `supernet + ${budget < 1 ? `${percent(budget)} ` : ''}fine-tuned` : 'supernet';
    }
    if (budget === undefined || budget === null || budget >= 1) {
        return schedule;
    }
    return `${schedule}, ${budget ? `${percent(budget)} of the training` : 'not recovered'}`;
}

// Returns the method and what is left: "l1_norm, supernet, 38% MACs"; weights, where no channel went.
// measures: the trial's, or null; dense: the dense model's, or null.
export function nameOf(parameters, measures, dense) {
    const method = methodOf(parameters);
    if (parameters.baseline || !measures || !dense) {
        return method;
    }
    const sparse = measures.macs === dense.macs && measures.params < dense.params;
    const [measure, word] = sparse ? ['params', 'weights'] : ['macs', 'MACs'];
    return `${method}, ${percent(measures[measure] / dense[measure])} ${word}`;
}
