mod candidates;
mod evaluation;
mod relations;
mod syntax;
