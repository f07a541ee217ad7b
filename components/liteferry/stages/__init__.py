"""The only home of Beam's DoFns, PTransforms and CombineFns, one stage a file. Stages wire; the functions they call think."""
