"""Studies: the room that asks whether minted images help, and answers with an interval.

What is asked:
study       the question: configuration, presets, options
arms        what each arm trains on and what it answers       (a new arm: one row of `ARMS`)
rows        which images a repetition may use, and for what;  gap: a range that they lack
tuning      what may be chosen on validation images;  checkpoints: which weights mint

What is done:
steps       the stages as pure functions;  materials: where an arm's images come from
judging     label truth and distances by judges that are blind to some real images
graph       which stages a study has, and what each builds on
stages      hash-named, atomically committed results;  foreign, unchanged: what they depend on
runner      executes them, by workers (this machine) or clusters, a row of backends each;  pact:
            what a run and a cluster's workers agree upon;  heartbeat: what runs right now

What follows:
statistics  paired t, power, Holm;  verdict: the decision;  equivalence: worth n images
null        the decision's own false-positive rate;  tail: rare classes
assemble    from stage values to report.json;  gallery: pictures, minted images, bundle
telling     what is said on a terminal;  tracked: what trackers are shown
report      the HTML page (the only place for matplotlib and jinja)

Commands:
pipeline    `prove`, from checks to report
single      `train` and `mint`, which minted_as writes in other formats
evaluation  `evaluate`, with annotations by claims;  inspection: `check`;  doctor: `doctor`
compare     several generators, same data and budget. Its stages: comparing, critics, probing, and
            reading (annotations); its measures: measured; its report: compared, showing
merging     `merge`: networks of the user's
"""
