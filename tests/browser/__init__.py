"""What a person sees: pages in Debian's Chromium, driven by Playwright."""
