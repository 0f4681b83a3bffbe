mod candidates;
mod evaluation;
mod records;
mod relations;
