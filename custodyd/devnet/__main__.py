"""`python -m custodyd.devnet`."""

import sys

from custodyd.devnet.service import main

sys.exit(main())
