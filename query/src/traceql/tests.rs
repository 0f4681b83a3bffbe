mod evaluation;
mod relations;
mod syntax;
