// The system's own Chromium; nothing is downloaded. TIDINGS_CHROMIUM names another.

import { chromium } from 'playwright-core';

const FLAGS = [
  '--headless',
  '--no-sandbox', // the tests also run as root, where Chromium's sandbox refuses to start
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export const launch = () =>
  chromium.launch({ executablePath: process.env.TIDINGS_CHROMIUM ?? '/usr/bin/chromium', args: FLAGS, timeout: 60_000 });
