import { describe } from 'mocha';

/** `TEST_THOROUGHNESS=10 npm test` looks ten times as long, and at more, as the nightly run does. */
const thoroughness = Number(process.env['TEST_THOROUGHNESS'] ?? 1);

/** How often a property is tried, and how many milliseconds it may take: `base` in `npm test`, more at night. */
export const runs = (base: number): number => Math.ceil(base * thoroughness);

/** What is slow and rarely breaks: pending in `npm test`. */
export const describeNightly = thoroughness > 1 ? describe : describe.skip;
