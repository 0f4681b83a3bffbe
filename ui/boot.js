// Chooses the theme and the density before the first paint, then loads the interface.
const stored = localStorage.getItem('tidings.theme');
const system = matchMedia('(prefers-color-scheme: light)').matches ? 'light' : 'dark';
document.documentElement.dataset.theme = stored === 'light' || stored === 'dark' ? stored : system;
document.documentElement.dataset.density = localStorage.getItem('tidings.density') === 'compact' ? 'compact' : 'comfortable';

try {
  const { default: init } = await import('./tidings-ui.js');
  await init({ module_or_path: new URL('./tidings-ui_bg.wasm', import.meta.url) });
} catch (error) {
  console.error(error);
  const note = document.createElement('p');
  note.className = 'boot-error';
  note.textContent = `The interface could not be loaded: ${error.message}. Reload the page; if that does not help, use a browser from 2023 or later.`;
  document.body.append(note);
}
