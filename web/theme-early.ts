import { applyTheme, keptTheme } from './theme.ts';

// Loaded before the style sheet is applied, so that a dark page never flashes white.
applyTheme(keptTheme());
