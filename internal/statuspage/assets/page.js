// Updates the page in place: it fetches the page again and changes what is different, so that
// focus, selection and scroll positions stay. The page works without this.
'use strict';
(() => {
  const root = document.documentElement;
  const notice = document.getElementById('notice');
  let timer = 0;
  let fetching = null; // fetching is the AbortController of the fetch that is under way.

  const seconds = () => Number(document.getElementById('page').dataset.seconds) || 5;

  const keyOf = (n) => (n.nodeType === Node.ELEMENT_NODE ? n.id || n.getAttribute('data-key') || '' : '');
  const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);

  // morph makes a node like another one. Both are alike.
  function morph(from, to) {
    if (from.nodeType !== Node.ELEMENT_NODE) {
      if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
      return;
    }
    for (const a of [...from.attributes]) if (!to.hasAttribute(a.name)) from.removeAttribute(a.name);
    for (const a of to.attributes) if (from.getAttribute(a.name) !== a.value) from.setAttribute(a.name, a.value);
    const keyed = new Map();
    for (const c of from.children) if (keyOf(c)) keyed.set(keyOf(c), c);
    let at = from.firstChild;
    for (const c of [...to.childNodes]) {
      let match = keyOf(c) ? keyed.get(keyOf(c)) : at;
      // Keyed nodes that are gone are removed below, so they do not shift the others.
      if (!match || !alike(match, c)) {
        from.insertBefore(document.importNode(c, true), at);
        continue;
      }
      if (match === at) at = at.nextSibling;
      else from.insertBefore(match, at);
      morph(match, c);
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  }

  function show(text) {
    const next = new DOMParser().parseFromString(text, 'text/html');
    const page = next.getElementById('page');
    if (!page) throw new Error('not the status page');
    if (next.documentElement.dataset.assets !== root.dataset.assets) {
      location.reload(); // another version of the plugin runs now
      return;
    }
    const focused = document.activeElement;
    morph(document.getElementById('page'), page);
    document.title = next.title;
    if (focused && focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
  }

  function silent() {
    const since = document.getElementById('updated').textContent;
    notice.textContent = `The plugin does not answer. This is its state of ${since} UTC.`;
    notice.hidden = false;
    root.classList.add('stale');
  }

  async function update() {
    clearTimeout(timer);
    if (fetching) fetching.abort();
    const mine = (fetching = new AbortController());
    const timeout = setTimeout(() => mine.abort(), 10000);
    try {
      const answer = await fetch(location.href.split('#')[0], { cache: 'no-store', signal: mine.signal });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const text = await answer.text();
      if (mine !== fetching) return;
      show(text);
      notice.hidden = true;
      root.classList.remove('stale');
    } catch {
      if (mine === fetching) silent();
    } finally {
      clearTimeout(timeout);
      if (mine === fetching) {
        fetching = null;
        schedule();
      }
    }
  }

  function schedule() {
    clearTimeout(timer);
    if (document.visibilityState === 'visible') timer = setTimeout(update, seconds() * 1000);
  }

  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible') update();
    else clearTimeout(timer);
  });
  // Links that only sort or show more need no new page.
  document.addEventListener('click', (e) => {
    const link = e.target.closest('a[data-sort]');
    if (!link || e.button !== 0 || e.ctrlKey || e.metaKey || e.shiftKey || e.altKey) return;
    e.preventDefault();
    history.pushState(null, '', link.href);
    update();
  });
  window.addEventListener('popstate', update);
  schedule();
})();
