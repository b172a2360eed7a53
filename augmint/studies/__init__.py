"""Studies: the room that asks whether minted images help, and answers with an interval.

study       the question: configuration, presets, options
arms        what each arm trains on and what it answers       (a new arm: one row of `ARMS`)
rows        which images a repetition may use, and for what
steps       the stages as pure functions;  materials: where an arm's images come from
judging     label truth and distances by judges that are blind to some real images
graph       which stages a study has, and what each builds on
stages      hash-named, atomically committed results;  runner, workers: who executes them
statistics  paired t, power, Holm, bootstrap;  verdict: the decision;  equivalence: worth n images
null        the decision's own false-positive rate
pipeline    `prove`, from checks to report;  single: train, mint, evaluate, check, doctor
compare     several generators, same data and budget; its stages: comparing, critics, probing; its
            report: compared
assemble    from stage values to report.json;  gallery: pictures, minted images, bundle
report      the HTML page (the only place for matplotlib and jinja)
"""
