// Counts how often blocks of code are executed, with V8's coverage: the number does not depend on the machine.
import { Session } from "node:inspector";
import { setFlagsFromString } from "node:v8";

setFlagsFromString("--no-opt"); // optimized code does not count
setFlagsFromString("--no-sparkplug");

const session = new Session();
session.connect();
call("Profiler.enable");
call("Profiler.startPreciseCoverage", { callCount: true, detailed: true });

/**
 * Return how often blocks of the page's modules were executed during a call.
 * @param {() => unknown} run
 */
export function stepsOf(run) {
  call("Profiler.takePreciseCoverage"); // what was counted before
  run();
  const { result } = call("Profiler.takePreciseCoverage");
  const scripts = result.filter(({ url }) => url.includes("/static/"));
  const ranges = scripts.flatMap(({ functions }) => functions.flatMap((each) => each.ranges));
  return ranges.reduce((sum, { count }) => sum + count, 0);
}

/**
 * Call the inspector, whose answers are synchronous.
 * @param {string} method
 * @param {object} [options]
 */
function call(method, options = {}) {
  let answer;
  session.post(method, options, (error, result) => {
    if (error) throw new Error(error.message);
    answer = result;
  });
  return answer;
}
