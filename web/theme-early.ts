import { demoPlayer } from './demo.ts';
import { applyTheme, keptTheme } from './theme.ts';

// Loaded before the style sheet is applied, so that a dark page never flashes white, and nothing moves aside for the demo.
applyTheme(keptTheme());
document.documentElement.classList.toggle('has-demo', demoPlayer() !== null);
