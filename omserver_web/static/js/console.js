// Life for pages that work without it: each part finds its place by itself.

import "./keys.js";
import "./copy.js";
import "./times.js";
import "./lists.js";
import "./run.js";
import "./job.js";
import "./trouble.js";
